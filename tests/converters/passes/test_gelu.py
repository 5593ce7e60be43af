"""GELU in any order of its factors, and its approximation. Oracle: PyTorch's own; 1e-6: another order of roundings."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from onnx import TensorProto, helper
from torch import Tensor, nn

from tests.kits.graphs import export, noise, ops, rewrite, run_onnx

SHAPE = (1, 3, 4, 5)
CANONICAL = {"Div": 1, "Erf": 1, "Add": 1, "Mul": 2}
ORDERS: dict[str, Callable[[Tensor], Tensor]] = {
    "half of the bracket": lambda x: x * (0.5 * (1 + torch.erf(x / math.sqrt(2)))),
    "half of x": lambda x: 0.5 * x * (1 + torch.erf(x / math.sqrt(2))),
    "a product within": lambda x: x * (torch.erf(x * math.sqrt(0.5)) + 1) * 0.5,
    "x over two": lambda x: x / 2 * (1 + torch.erf(x / math.sqrt(2))),
}
OTHERS: dict[str, Callable[[Tensor], Tensor]] = {
    "PyTorch's own": F.gelu,
    "another width": lambda x: x * 0.5 * (1 + torch.erf(x / 1.5)),
    "another factor": lambda x: x * 0.4 * (1 + torch.erf(x / math.sqrt(2))),
    "another x": lambda x: (x + 1) * 0.5 * (1 + torch.erf(x / math.sqrt(2))),
    "an erf of its own": torch.erf,
    "a bracket that is read twice": lambda x: (lambda y: x * 0.5 * y + y)(1 + torch.erf(x / math.sqrt(2))),
}


class _Of(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


@pytest.mark.parametrize("order", ORDERS)
def test_rewritten(order: str) -> None:
    rewritten, reports = rewrite(export(_Of(ORDERS[order]), SHAPE))
    assert reports["gelu"].fired == 1 and dict(ops(rewritten)) == CANONICAL
    x = noise(SHAPE)
    np.testing.assert_allclose(run_onnx(rewritten, x), F.gelu(torch.from_numpy(x)).numpy(), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("other", OTHERS)
def test_what_is_none_stays(other: str) -> None:
    assert rewrite(export(_Of(OTHERS[other]), SHAPE))[1]["gelu"].fired == 0


@pytest.mark.parametrize("approximate", ["tanh", "none"])
def test_the_operator(approximate: str) -> None:
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, SHAPE) for name in ("x0", "y0")]
    node = helper.make_node("Gelu", ["x0"], ["y0"], approximate=approximate)
    graph = helper.make_graph([node], "gelu", values[:1], values[1:])
    stock = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    rewritten, reports = rewrite(stock)
    assert reports["gelu"].fired == (approximate == "tanh") and ("Gelu" in ops(rewritten)) == (approximate == "none")
    x = noise(SHAPE)
    expected = F.gelu(torch.from_numpy(x), approximate=approximate).numpy()
    np.testing.assert_allclose(run_onnx(rewritten, x), expected, rtol=1e-6, atol=1e-6)
