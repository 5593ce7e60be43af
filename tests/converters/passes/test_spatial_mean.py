"""The mean of a large map by tiles. Oracle: PyTorch in float64; TFLite's own kernels, which lose digits on the mean in
one step.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from converters.lowering.lower import Lowering
from evit_mobile.runtimes import RUNTIMES
from evit_mobile.specs import Precision
from tests.kits.graphs import export, noise, ops, rewrite, run_onnx

LARGE, SMALL = (1, 3, 40, 24), (1, 3, 16, 32)


class Mean(nn.Module):
    def __init__(self, axes: tuple[int, ...], keep: bool) -> None:
        super().__init__()
        self.axes, self.keep = axes, keep

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(self.axes, keepdim=self.keep)


@pytest.mark.parametrize(
    "module", [Mean((2, 3), True), Mean((2, 3), False), nn.AdaptiveAvgPool2d(1)], ids=["kept", "dropped", "pool"]
)
def test_large_map_by_tiles(module: nn.Module) -> None:
    stock = export(module, LARGE)
    rewritten, reports = rewrite(stock)
    assert reports["spatial-mean"].fired == 1
    before, after = ops(stock), ops(rewritten)
    assert after == before + Counter(AveragePool=1)
    x = noise(LARGE)
    want = module(torch.from_numpy(x).double()).numpy()
    # Tiles of 5x4, 48 of them: sums of 20 and of 48 numbers of size 1, divided.
    assert abs(run_onnx(rewritten, x) - want).max() <= 68 * 2**-24


@pytest.mark.parametrize(
    ("module", "shape"),
    [(Mean((2, 3), True), SMALL), (Mean((1,), True), LARGE), (Mean((1, 2, 3), True), LARGE), (nn.AvgPool2d(4), LARGE)],
)
def test_other_means_stay(module: nn.Module, shape: tuple[int, ...]) -> None:
    stock = export(module, shape)
    rewritten, reports = rewrite(stock)
    assert reports["spatial-mean"].fired == 0 and ops(rewritten)["AveragePool"] == ops(stock)["AveragePool"]


def test_a_map_that_no_tiles_fill_is_declined() -> None:
    rewritten, reports = rewrite(export(Mean((2, 3), True), (1, 2, 23, 29)))
    assert reports["spatial-mean"].fired == 0 and ops(rewritten)["AveragePool"] == 0
    assert "23x29" in reports["spatial-mean"].declined[0].reason


def test_int8_has_no_pooling() -> None:
    rewritten, reports = rewrite(export(Mean((2, 3), True), LARGE), precision=Precision.INT8)
    assert reports["spatial-mean"].fired == 0 and ops(rewritten)["AveragePool"] == 0


def test_a_flat_map_keeps_its_digits_without_xnnpack(tmp_path: Path) -> None:
    shape = (1, 8, 112, 112)
    path = tmp_path / "mean.tflite"
    rewritten, _ = rewrite(export(Mean((2, 3), True), shape))
    with Lowering() as lowering:
        path.write_bytes(lowering.lower(rewritten))
    flat = np.full((1, 112, 112, 8), 0.1, np.float32)
    with RUNTIMES["litert"].open(path, xnnpack=False) as session:
        (mean,) = session.run([flat])
    # One sum of 12,544 floats is 1e-4 off here; 64 to a tile and 196 tiles may lose 260 roundings at most.
    assert abs(mean / np.float32(0.1) - 1).max() <= 260 * 2**-24


def test_half_precision_keeps_the_mean() -> None:
    """Of 40 x 24 places at 300, tiles of 6 x 8 come near the end of float16, and of larger maps beyond."""
    _, reports = rewrite(export(Mean((2, 3), True), LARGE), precision=Precision.FP16)
    assert reports["spatial-mean"].fired == 0 and len(reports["spatial-mean"].declined) == 1
