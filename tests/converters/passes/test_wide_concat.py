"""Concat of many maps becomes a chain that the delegate takes. Oracle: PyTorch; values are only copied, so results are
equal.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from converters.passes.wide_concat import LIMIT
from tests.kits.graphs import export, noise, ops, rewrite, run_onnx, seeded


class Joined(nn.Module):
    """``count`` different maps joined along ``axis``."""

    def __init__(self, count: int, axis: int) -> None:
        super().__init__()
        self.count, self.axis = count, axis

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x + index for index in range(self.count)], self.axis)


class Dense(nn.Module):
    """Layers that each read all before them, as DenseNet's."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Conv2d(2 * (index + 1), 2, 1) for index in range(depth)])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        maps = [x]
        for layer in self.layers:
            maps.append(layer(torch.cat(maps, 1)))
        return torch.cat(maps, 1)


@pytest.mark.parametrize("count", [LIMIT + 1, 11])
@pytest.mark.parametrize("axis", [1, 2, -1])
def test_a_chain_of_few(count: int, axis: int) -> None:
    module, shape = Joined(count, axis), (1, 4, 4, 4)
    rewritten, reports = rewrite(export(module, shape))
    assert reports["wide-concat"].fired == 1
    widths = [len(node.input) for node in rewritten.graph.node if node.op_type == "Concat"]
    assert max(widths) <= LIMIT
    x = noise(shape)
    np.testing.assert_array_equal(run_onnx(rewritten, x), module(torch.from_numpy(x)).numpy())


def test_what_is_joined_already_is_taken_from_there() -> None:
    module, shape = seeded(Dense(9)), (1, 2, 5, 7)
    stock = export(module, shape)
    rewritten, reports = rewrite(stock)
    assert reports["wide-concat"].fired == 5 and ops(rewritten)["Concat"] <= ops(stock)["Concat"]
    late = [len(node.input) for node in rewritten.graph.node if node.op_type == "Concat"][-5:]
    assert late == [2] * 5
    x = noise(shape)
    # Float32 sums of up to 18 products.
    np.testing.assert_allclose(run_onnx(rewritten, x), module(torch.from_numpy(x)).numpy(), atol=2e-6)


def test_few_stay() -> None:
    stock = export(Joined(LIMIT, 1), (1, 4, 4, 4))
    rewritten, reports = rewrite(stock)
    assert not reports["wide-concat"].fired and ops(rewritten) == ops(stock)
