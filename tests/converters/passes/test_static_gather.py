"""One place along an axis becomes a slice. Oracle: PyTorch; elements are only moved, so results are equal."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.kits.graphs import export, noise, ops, rewrite, run_onnx


class Pick(nn.Module):
    """Twice the places ``index`` of ``axis``."""

    def __init__(self, axis: int, index: int | list[int]) -> None:
        super().__init__()
        self.axis = axis
        self.register_buffer("index", torch.tensor(index))

    def forward(self, x: Tensor) -> Tensor:
        index = self.get_buffer("index")
        picked = torch.index_select(x, self.axis, index.reshape(-1))
        return 2 * (picked if index.ndim else picked.squeeze(self.axis))


class First(nn.Module):
    """A class token."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * x[:, 0]


class Last(nn.Module):
    """Counted from the end."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * x[..., -1]


@pytest.mark.parametrize("shape", [(1, 5, 8), (1, 5, 5), (1, 3, 4, 6)])
@pytest.mark.parametrize("module", [First(), Last(), Pick(1, 2), Pick(-1, [3])])
def test_rewritten(module: nn.Module, shape: tuple[int, ...]) -> None:
    rewritten, reports = rewrite(export(module, shape))
    assert reports["static-gather"].fired == 1
    after = ops(rewritten)
    assert after["Slice"] == 1 and "Gather" not in after
    x = noise(shape)
    np.testing.assert_array_equal(run_onnx(rewritten, x), module(torch.from_numpy(x)).numpy())


def test_several_places_stay() -> None:
    rewritten, reports = rewrite(export(Pick(1, [3, 0]), (1, 5, 8)))
    assert reports["static-gather"].fired == 0 and ops(rewritten)["Gather"] == 1


def test_rank_5_is_declined() -> None:
    rewritten, reports = rewrite(export(First(), (1, 2, 3, 4, 5)))
    assert "rank" in reports["static-gather"].declined[0].reason and ops(rewritten)["Gather"] == 1
