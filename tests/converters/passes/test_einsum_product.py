"""An Einsum of two operands becomes a matrix product, or a product of elements. Oracle: PyTorch."""

from __future__ import annotations

import pytest
import torch
from onnx import TensorProto, helper
from torch import Tensor, nn

from tests.converters.passes.test_long_einsum import SIZES, Contraction, shapes
from tests.kits.graphs import export, noise, ops, relative_error, rewrite, run_onnx

#: Matrix products: of a batch, transposed, with two letters in a group, with nothing left over, with a letter of one
#: operand alone; then products of elements.
MATRICES = ["bin,bjn->bij", "bin,bnj->jbi", "bijk,bjkn->bin", "bi,bi->b", "ij,jk->", "ijk,jn->kn", "bn,n->b"]
ELEMENTS = ["bi,bj->bij", "bij,bi->jbi", "bij,n->bi"]


@pytest.mark.parametrize("equation", [*MATRICES, *ELEMENTS])
def test_product(equation: str) -> None:
    module, sizes = Contraction(equation), shapes(equation)
    rewritten, reports = rewrite(export(module, *sizes))
    assert reports["einsum-product"].fired == 1
    counts = ops(rewritten)
    assert counts["Einsum"] == 0 and counts["MatMul"] + counts["Gemm"] == (equation in MATRICES)
    inputs = [noise(shape, seed) for seed, shape in enumerate(sizes)]
    expected = module(*map(torch.from_numpy, inputs)).numpy()
    # 1e-5: float32 sums of at most 120 products in another order.
    assert relative_error(expected, run_onnx(rewritten, *inputs)) < 1e-5


class Normalised(nn.Module):
    """A weighted sum, with the reciprocal of its weights' sum in an einsum."""

    def forward(self, weights: Tensor, values: Tensor) -> Tensor:
        inverse = 1 / (weights.abs().sum(-1) + 1)
        result: Tensor = torch.einsum("bij,bi->bij", values, inverse)
        return result


def test_a_reciprocal_divides() -> None:
    module, shape = Normalised(), (SIZES["b"], SIZES["i"], SIZES["j"])
    rewritten, _ = rewrite(export(module, shape, shape))
    assert ops(rewritten)["Div"] == 1 and ops(rewritten)["Reciprocal"] == 0
    inputs = [noise(shape, seed) for seed in range(2)]
    expected = module(*map(torch.from_numpy, inputs)).numpy()
    # 1e-6: a quotient is rounded once, a product with a rounded reciprocal twice.
    assert relative_error(expected, run_onnx(rewritten, *inputs)) < 1e-6


@pytest.mark.parametrize("equation", ["bij->jb", "bij->i", "ij->", "bij->bij"])
def test_one_operand(equation: str) -> None:
    module, sizes = Contraction(equation), shapes(equation)
    rewritten, reports = rewrite(export(module, *sizes))
    assert reports["einsum-product"].fired == 1 and ops(rewritten)["Einsum"] == 0
    x = noise(sizes[0])
    # 1e-6: float32 sums of at most 30 terms in another order.
    assert relative_error(module(torch.from_numpy(x)).numpy(), run_onnx(rewritten, x)) < 1e-6


def test_an_implied_diagonal_stays() -> None:
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3, 3]) for name in ("a", "b")]
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, [3])
    graph = helper.make_graph([helper.make_node("Einsum", ["a", "b"], ["y"], equation="bii,bij")], "g", ends, [result])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    rewritten, reports = rewrite(model)
    assert reports["plain-einsum"].fired == reports["einsum-product"].fired == 0
    assert "implied" in reports["plain-einsum"].declined[0].reason and ops(rewritten)["Einsum"] == 1
