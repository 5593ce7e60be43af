"""Average pooling merged into the 1x1 convolution behind it. Oracle: PyTorch."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from evit_mobile.specs import Precision
from tests.kits.graphs import export, noise, ops, relative_error, rewrite, run_onnx

SHAPE = (1, 4, 4, 4)


def test_merged_for_int8() -> None:
    module = nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(4, 4, 1)).eval()
    rewritten, reports = rewrite(export(module, SHAPE), precision=Precision.INT8)
    assert reports["pooled-projection"].fired == 1 and ops(rewritten) == {"Conv": 1}
    x = noise(SHAPE)
    with torch.no_grad():
        want = module.double()(torch.from_numpy(x).double()).numpy()
    assert relative_error(want, run_onnx(rewritten, x)) < 1e-6


def test_not_for_float() -> None:
    _, reports = rewrite(export(nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(4, 4, 1)), SHAPE))
    assert reports["pooled-projection"].fired == 0


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        (nn.Sequential(nn.AvgPool2d(3, 2, 1), nn.Conv2d(4, 4, 1)), "side by side"),
        (nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(4, 4, 2)), "not one 1x1"),
        (nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(4, 4, 1, groups=2)), "not one 1x1"),
        (nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(4, 4, 1, stride=2)), "pads or strides"),
    ],
)
def test_declined(module: nn.Module, reason: str) -> None:
    _, reports = rewrite(export(module, SHAPE), precision=Precision.INT8)
    assert reports["pooled-projection"].fired == 0
    assert reason in reports["pooled-projection"].declined[0].reason
