"""Copies along an axis of one place become a product by ones. Oracle: PyTorch; a product by one is exact."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from tests.kits.graphs import export, noise, ops, rewrite, run_onnx


class Expanded(nn.Module):
    def __init__(self, *sizes: int) -> None:
        super().__init__()
        self.sizes = sizes

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x * 2).expand(*self.sizes)


class Repeated(nn.Module):
    def __init__(self, *times: int) -> None:
        super().__init__()
        self.times = times

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x * 2).repeat(*self.times)


@pytest.mark.parametrize(
    ("module", "shape"),
    [
        (Expanded(3, 4, 4, 4), (1, 4, 4, 4)),
        (Expanded(1, 4, 5, 7), (1, 4, 1, 1)),
        (Expanded(2, 1, 4, 3, 3), (1, 4, 3, 3)),
        (Repeated(1, 1, 6, 1), (1, 3, 1, 5)),
    ],
)
def test_rewritten(module: nn.Module, shape: tuple[int, ...]) -> None:
    rewritten, reports = rewrite(export(module, shape))
    assert reports["expand"].fired
    assert not ops(rewritten).keys() & {"Expand", "Tile"}
    x = noise(shape)
    np.testing.assert_array_equal(run_onnx(rewritten, x), module(torch.from_numpy(x)).numpy())


@pytest.mark.parametrize(("times", "muls"), [((1, 2, 1, 1), 1), ((2, 2, 3, 1), 2)])
def test_an_axis_of_more_places_is_gathered(times: tuple[int, ...], muls: int) -> None:
    module, shape = Repeated(*times), (1, 3, 4, 4)
    rewritten, reports = rewrite(export(module, shape))
    assert reports["expand"].fired
    assert ops(rewritten)["Tile"] == 0 and ops(rewritten)["Gather"] and ops(rewritten)["Mul"] == muls
    x = noise(shape)
    np.testing.assert_array_equal(run_onnx(rewritten, x), module(torch.from_numpy(x)).numpy())


def test_what_copies_nothing_goes() -> None:
    rewritten, _ = rewrite(export(Repeated(1, 1, 1, 1), (1, 3, 4, 4)))
    assert set(ops(rewritten)) == {"Mul"}
