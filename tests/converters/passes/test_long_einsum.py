"""An Einsum of three operands or more becomes a chain of two. Oracle: PyTorch."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from tests.kits.graphs import export, noise, ops, relative_error, rewrite, run_onnx

SIZES = {"b": 1, "i": 3, "j": 4, "k": 5, "n": 6}


class Contraction(nn.Module):
    """One einsum."""

    def __init__(self, equation: str) -> None:
        super().__init__()
        self.equation = equation

    def forward(self, *operands: Tensor) -> Tensor:
        result: Tensor = torch.einsum(self.equation, *operands)
        return result


def shapes(equation: str) -> list[tuple[int, ...]]:
    return [tuple(SIZES[letter] for letter in term) for term in equation.partition("->")[0].split(",")]


@pytest.mark.parametrize("equation", ["bin,bjn,bjk->bik", "bi,bj,bk->bijk", "ij,jk,kn,ni->", "ij,jk,k->ki"])
def test_split(equation: str) -> None:
    module, sizes = Contraction(equation), shapes(equation)
    rewritten, reports = rewrite(export(module, *sizes))
    assert reports["long-einsum"].fired == 1
    # Every step then is a product of matrices or of elements.
    assert reports["einsum-product"].fired == len(sizes) - 1 and ops(rewritten)["Einsum"] == 0
    inputs = [noise(shape, seed) for seed, shape in enumerate(sizes)]
    # 1e-5: float32 sums of at most 360 products in another order.
    assert relative_error(module(*map(torch.from_numpy, inputs)).numpy(), run_onnx(rewritten, *inputs)) < 1e-5


@pytest.mark.parametrize("equation", ["bin,bjn->bij", "bi,bi->b"])
def test_two_operands_stay(equation: str) -> None:
    _, reports = rewrite(export(Contraction(equation), *shapes(equation)))
    assert reports["long-einsum"].fired == 0 and not reports["long-einsum"].declined
