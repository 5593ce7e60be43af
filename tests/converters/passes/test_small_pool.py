"""Average pooling over few places becomes a depthwise convolution. Oracle: PyTorch in float64."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.kits.graphs import export, noise, ops, rewrite, run_onnx

SHAPE = (1, 3, 7, 6)


@pytest.mark.parametrize("pool", [nn.AvgPool2d(2), nn.AvgPool2d((1, 3), stride=2), nn.AvgPool2d((4, 1), stride=1)])
def test_rewritten(pool: nn.Module) -> None:
    rewritten, reports = rewrite(export(pool, SHAPE))
    assert reports["small-pool"].fired == 1
    assert ops(rewritten) == {"Conv": 1}
    x = noise(SHAPE)
    # Four products and three sums of numbers up to 4, a quarter each.
    assert abs(run_onnx(rewritten, x) - pool(torch.from_numpy(x).double()).numpy()).max() <= 4 * 2**-24 * abs(x).max()


@pytest.mark.parametrize("pool", [nn.AvgPool2d(3), nn.AvgPool2d((1, 5)), nn.AdaptiveAvgPool2d(1), nn.MaxPool2d(2)])
def test_other_pools_stay(pool: nn.Module) -> None:
    stock = export(pool, SHAPE)
    rewritten, reports = rewrite(stock)
    assert reports["small-pool"].fired == 0 and not reports["small-pool"].declined and ops(rewritten) == ops(stock)


@pytest.mark.parametrize(
    ("pool", "reason"),
    [
        (nn.AvgPool2d(2, padding=1), "pads"),
        (nn.AvgPool2d(2, padding=1, count_include_pad=False), "pads"),
        (nn.AvgPool2d(2, ceil_mode=True), "hang over the border"),
    ],
)
def test_borders_are_declined(pool: nn.Module, reason: str) -> None:
    stock = export(pool, SHAPE)
    rewritten, reports = rewrite(stock)
    assert reports["small-pool"].fired == 0 and ops(rewritten)["Conv"] == 0
    # The exporter may have written the padding as a node of its own; then the pool itself has none.
    assert ops(rewritten)["AveragePool"] == ops(stock)["AveragePool"]
    assert all(reason in declined.reason for declined in reports["small-pool"].declined)
