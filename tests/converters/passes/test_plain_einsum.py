"""Diagonals and ellipses of Einsum. Oracle: PyTorch."""

from __future__ import annotations

import pytest
import torch

from tests.converters.passes.test_long_einsum import Contraction
from tests.kits.graphs import export, noise, ops, relative_error, rewrite, run_onnx

EQUATIONS = [
    ("bii->bi", [(2, 3, 3)]),
    ("iji->j", [(3, 4, 3)]),
    ("iii->i", [(3, 3, 3)]),
    ("biij,bik->bjk", [(2, 3, 3, 4), (2, 3, 5)]),
    ("...ij,...jk->...ik", [(2, 1, 3, 4), (2, 1, 4, 5)]),
    ("...ij,jk->...ik", [(2, 3, 4), (4, 5)]),
    ("...ii->...i", [(2, 3, 3)]),
]


@pytest.mark.parametrize(("equation", "sizes"), EQUATIONS)
def test_plain(equation: str, sizes: list[tuple[int, ...]]) -> None:
    module = Contraction(equation)
    rewritten, reports = rewrite(export(module, *sizes))
    assert reports["plain-einsum"].fired == 1
    assert ops(rewritten)["Einsum"] == 0
    inputs = [noise(shape, seed) for seed, shape in enumerate(sizes)]
    expected = module(*map(torch.from_numpy, inputs)).numpy()
    # 1e-5: float32 sums in another order.
    assert relative_error(expected, run_onnx(rewritten, *inputs)) < 1e-5


def test_letters_alone_stay() -> None:
    _, reports = rewrite(export(Contraction("bij,bjk->bik"), (2, 3, 4), (2, 4, 5)))
    assert not reports["plain-einsum"].fired and not reports["plain-einsum"].declined
