"""Cumulative sums become products. Oracle: ONNX Runtime on the graph as it was; its float32 sums in another order stay
within 1e-6 of the largest.
"""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.kits.graphs import noise, ops, relative_error, rewrite, run_onnx

SHAPE = (2, 5, 7)


def _summed(axis: int, shape: tuple[int, ...] = SHAPE, **attributes: int) -> onnx.ModelProto:
    value = helper.make_tensor_value_info("x0", TensorProto.FLOAT, shape)
    result = helper.make_tensor_value_info("y0", TensorProto.FLOAT, shape)
    nodes = [
        helper.make_node("Relu", ["x0"], ["positive"]),
        helper.make_node("CumSum", ["positive", "axis"], ["y0"], **attributes),
    ]
    graph = helper.make_graph(nodes, "sums", [value], [result], [numpy_helper.from_array(np.array(axis), "axis")])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("attributes", [{}, {"exclusive": 1}, {"reverse": 1}, {"exclusive": 1, "reverse": 1}])
def test_rewritten(axis: int, attributes: dict[str, int]) -> None:
    stock = _summed(axis, **attributes)
    rewritten, reports = rewrite(stock)
    assert reports["cumulative-sum"].fired == 1 and "CumSum" not in ops(rewritten)
    assert relative_error(run_onnx(stock, noise(SHAPE)), run_onnx(rewritten, noise(SHAPE))) <= 1e-6


def test_long_axis_stays() -> None:
    rewritten, reports = rewrite(_summed(1, (1, 1025)))
    assert not reports["cumulative-sum"].fired and ops(rewritten)["CumSum"] == 1
    assert "1025 places" in reports["cumulative-sum"].declined[0].reason
