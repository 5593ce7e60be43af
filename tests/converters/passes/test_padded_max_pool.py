"""A max pool's padding becomes zeros where the map is nowhere negative, else its own border. Oracle: PyTorch;
values are only chosen, so results are equal.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from tests.kits.graphs import export, noise, ops, rewrite, run_onnx


@pytest.mark.parametrize("shape", [(1, 3, 8, 8), (1, 3, 7, 10), (1, 1, 3, 3)])
@pytest.mark.parametrize(
    "before", [nn.ReLU(), nn.ReLU6(), nn.Sequential(nn.Sigmoid(), nn.AvgPool2d(3, stride=1, padding=1))]
)
@pytest.mark.parametrize("pool", [nn.MaxPool2d(3, stride=2, padding=1), nn.MaxPool2d((3, 2), stride=1, padding=(1, 0))])
def test_rewritten(before: nn.Module, pool: nn.Module, shape: tuple[int, ...]) -> None:
    module = nn.Sequential(before, pool)
    rewritten, reports = rewrite(export(module, shape))
    assert reports["padded-max-pool"].fired == 1
    after = ops(rewritten)
    assert after["Pad"] == 1 + after["AveragePool"] and after["MaxPool"] == 1  # an average pool has a Pad of its own
    x = noise(shape)
    # The sigmoid of two libraries, and a mean's factor; all else is exact.
    np.testing.assert_allclose(run_onnx(rewritten, x), module(torch.from_numpy(x)).numpy(), rtol=1e-6)


@pytest.mark.parametrize("shape", [(1, 3, 8, 8), (1, 3, 7, 10), (1, 3, 3, 3)])
@pytest.mark.parametrize(
    "pool",
    [
        nn.MaxPool2d(3, stride=2, padding=1),
        nn.MaxPool2d((3, 2), stride=1, padding=(1, 0)),
        nn.MaxPool2d(5, stride=1, padding=2),
        nn.MaxPool2d(3, stride=1, padding=1, dilation=1),
    ],
)
def test_of_what_may_be_negative_the_border_is_repeated(pool: nn.Module, shape: tuple[int, ...]) -> None:
    module = nn.Sequential(nn.Hardswish(), pool)
    rewritten, reports = rewrite(export(module, shape))
    assert reports["padded-max-pool"].fired == 1
    after = ops(rewritten)
    assert after["Concat"] and not after["Pad"] and after["MaxPool"] == 1
    x = noise(shape)
    np.testing.assert_allclose(run_onnx(rewritten, x), module(torch.from_numpy(x)).numpy(), rtol=4e-7)


@pytest.mark.parametrize("shape", [(1, 3, 8, 8), (1, 3, 7, 10), (1, 3, 11, 5)])
@pytest.mark.parametrize("before", [nn.ReLU(), nn.Hardswish()])
@pytest.mark.parametrize(
    "pool",
    [
        nn.MaxPool2d(3, stride=2, ceil_mode=True),
        nn.MaxPool2d(3, stride=2, padding=1, ceil_mode=True),
        nn.MaxPool2d(2, stride=3, ceil_mode=True),
    ],
)
def test_windows_over_the_border(before: nn.Module, pool: nn.Module, shape: tuple[int, ...]) -> None:
    module = nn.Sequential(before, pool)
    rewritten, reports = rewrite(export(module, shape))
    assert reports["padded-max-pool"].fired == 1
    assert not any(a.name == "ceil_mode" and a.i for node in rewritten.graph.node for a in node.attribute)
    x = noise(shape)
    np.testing.assert_allclose(run_onnx(rewritten, x), module(torch.from_numpy(x)).numpy(), rtol=4e-7)


def test_without_padding_nothing_happens() -> None:
    stock = export(nn.Sequential(nn.ReLU(), nn.MaxPool2d(2)), (1, 3, 8, 8))
    rewritten, reports = rewrite(stock)
    assert (
        not reports["padded-max-pool"].fired
        and not reports["padded-max-pool"].declined
        and ops(rewritten) == ops(stock)
    )
