"""Every second place without STRIDED_SLICE. Oracle: PyTorch; values are only chosen, so results are equal."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.kits.graphs import export, noise, ops, rewrite, run_onnx


class Take(nn.Module):
    def __init__(self, take: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.take = take

    def forward(self, x: Tensor) -> Tensor:
        return self.take(torch.relu(x))


@pytest.mark.parametrize("shape", [(1, 4, 8, 8), (1, 8, 8, 8), (1, 5, 7, 11)])
@pytest.mark.parametrize(
    "take",
    [
        lambda x: x[:, :, ::2, ::2],
        lambda x: x[:, :, 1::2, ::3],
        lambda x: x[..., 1:6:2],
        lambda x: x[:, ::2],
        lambda x: x[:, 1::2, ::2],
        lambda x: x.flatten(2)[:, :, 1::3],
        lambda x: x.permute(0, 2, 3, 1)[:, ::2, ::2],
        nn.AvgPool2d(1, 2),
        nn.MaxPool2d(1, 3),
        lambda x: x.flip(3),
        lambda x: x.flip(1, 2)[:, :, ::2],
    ],
)
def test_rewritten(take: Callable[[Tensor], Tensor], shape: tuple[int, ...]) -> None:
    module = Take(take)
    rewritten, reports = rewrite(export(module, shape))
    assert reports["subsample"].fired
    for node in rewritten.graph.node:
        assert node.op_type not in ("AveragePool", "MaxPool")
        assert node.op_type != "Slice" or len(node.input) < 5
    x = noise(shape)
    np.testing.assert_array_equal(run_onnx(rewritten, x), module(torch.from_numpy(x)).numpy())


@pytest.mark.parametrize("take", [lambda x: x[:, 1:3], nn.AvgPool2d(5, 2), nn.MaxPool2d(3, 2)])
def test_without_steps_it_stays(take: Callable[[Tensor], Tensor]) -> None:
    stock = export(Take(take), (1, 4, 8, 8))
    rewritten, reports = rewrite(stock)
    assert not reports["subsample"].fired
    assert ops(rewritten) == ops(stock)
