"""Functions that are written with others for export. Oracle: the function itself, and ONNX Runtime on what is exported.

1e-6: sums in another order. ``NEAREST`` moves values, but by a product with zeros and ones.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from converters.source.substitutes import Substitutes
from converters.source.torch_export import Exportable, Exporter, export_module
from tests.kits.graphs import run_onnx

SHAPE = (2, 3, 11, 9)
POOLS = list(product((2, 3, (3, 2)), (None, 1, 2, 3), (0, 1), (False, True), (False, True), (None, 5)))
SIZES: list[int | tuple[int | None, int | None]] = [4, 12, (3, 5), (None, 4), (11, 2), 1]
FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "divisor": lambda x: F.avg_pool2d(x, 3, 2, 1, divisor_override=7),
    "counted padding": lambda x: F.avg_pool2d(x, 3, 2, 1, ceil_mode=True),
    "adaptive average": lambda x: F.adaptive_avg_pool2d(x, (5, 4)),
    "adaptive maximum": lambda x: F.adaptive_max_pool2d(x, (5, 4)),
    "antialias": lambda x: F.interpolate(x, size=(4, 20), mode="bicubic", antialias=True),
    "area": lambda x: F.interpolate(x, scale_factor=0.7, mode="area"),
    "nearest-exact": lambda x: F.interpolate(x, size=(4, 20), mode="nearest-exact"),
    "hypot": lambda x: torch.hypot(x, x + 1),
    "copysign": lambda x: torch.copysign(x, x - 1),
    "isinf": lambda x: torch.isinf(x / x.relu()).float(),
    "isfinite": lambda x: torch.isfinite(x / x.relu()).float(),
    "nan_to_num": lambda x: torch.nan_to_num((x / x.relu()).log(), posinf=3.0),
}


def _same(function: Callable[[Tensor], Tensor], shape: tuple[int, ...] = SHAPE) -> None:
    value = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    with Substitutes():
        substitute = function(value)
    torch.testing.assert_close(substitute, function(value), rtol=1e-6, atol=1e-6)


def test_average_pools_count_as_pytorch_does() -> None:
    for kernel, stride, padding, ceil_mode, included, divisor in POOLS:
        _same(lambda x: F.avg_pool2d(x, kernel, stride, padding, ceil_mode, included, divisor))
    _same(lambda x: F.avg_pool1d(x, 3, 2, 1, ceil_mode=True), SHAPE[1:])
    _same(lambda x: F.avg_pool3d(x, 3, 2, 1, divisor_override=4), (1, 2, 7, 6, 5))


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_adaptive_pools_of_any_size(size: int | tuple[int | None, int | None]) -> None:
    _same(lambda x: F.adaptive_avg_pool2d(x, size))
    _same(lambda x: F.adaptive_max_pool2d(x, size))


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
@pytest.mark.parametrize("align_corners", [False, True])
def test_antialiased_resizing(mode: str, align_corners: bool) -> None:
    def resized(**sizes: Any) -> Callable[[Tensor], Tensor]:
        return lambda x: F.interpolate(x, mode=mode, align_corners=align_corners, antialias=True, **sizes)

    for size in (5, (7, 20), (11, 3)):
        _same(resized(size=size))
    _same(resized(scale_factor=0.6))
    _same(resized(scale_factor=(0.6, 0.4), recompute_scale_factor=True))


@pytest.mark.parametrize("mode", ["nearest-exact", "area"])
def test_resizing_by_windows(mode: str) -> None:
    _same(lambda x: F.interpolate(x, size=(7, 20), mode=mode))
    _same(lambda x: F.interpolate(x, scale_factor=1.7, mode=mode))
    _same(lambda x: F.interpolate(x, size=5, mode=mode), SHAPE[1:])


class _Of(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, image: Tensor) -> Tensor:
        return self.function(image * 2)


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("exporter", [Exporter.TORCHSCRIPT, Exporter.DYNAMO])
def test_both_exporters_write_them(name: str, exporter: Exporter) -> None:
    module, image = _Of(FUNCTIONS[name]), torch.randn(1, 3, 11, 9, generator=torch.Generator().manual_seed(1))
    graph = export_module(Exportable(module, {"image": (1, 3, 11, 9)}, (), name), exporter).model
    written = run_onnx(graph, image.numpy())
    np.testing.assert_allclose(written, module(image).numpy(), rtol=1e-6, atol=1e-6)


def test_what_the_exporters_write_rightly_is_left_to_them() -> None:
    image = torch.randn(1, 3, 12, 12)
    called = (
        lambda: F.avg_pool2d(image, 2),
        lambda: F.adaptive_avg_pool2d(image, 3),
        lambda: F.adaptive_max_pool2d(image, 3, return_indices=True)[0],
        lambda: F.interpolate(image, scale_factor=2, mode="bilinear"),
    )
    for call in called:
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as plain:
            call()
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as watched, Substitutes():
            call()
        assert [event.name for event in watched.events()] == [event.name for event in plain.events()]
