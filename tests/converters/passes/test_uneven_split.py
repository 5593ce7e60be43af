"""Parts that are not equal get their sizes. Oracle: ONNX Runtime on the graph as it was; elements are only moved."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tests.kits.graphs import noise, ops, rewrite, run_onnx


def _split(length: int, parts: int, axis: int) -> onnx.ModelProto:
    """The last part of a split along ``axis``, behind a ReLU."""
    shape = [1, 2, 3, 4]
    shape[axis] = length
    nodes = [
        helper.make_node("Relu", ["x0"], ["positive"]),
        helper.make_node("Split", ["positive"], [*(f"part{i}" for i in range(parts))], axis=axis, num_outputs=parts),
        helper.make_node("Neg", [f"part{parts - 1}"], ["y0"]),
    ]
    inputs = [helper.make_tensor_value_info("x0", TensorProto.FLOAT, shape)]
    graph = helper.make_graph(nodes, "split", inputs, [helper.make_tensor_value_info("y0", TensorProto.FLOAT, None)])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


@pytest.mark.parametrize(("length", "parts", "axis"), [(8, 3, 1), (7, 2, -1), (7, 4, 2)])
def test_sizes_are_named(length: int, parts: int, axis: int) -> None:
    stock = _split(length, parts, axis)
    rewritten, reports = rewrite(stock)
    assert reports["uneven-split"].fired == 1 and ops(rewritten)["Split"] == 1
    (split,) = (node for node in rewritten.graph.node if node.op_type == "Split")
    assert len(split.input) == 2 and "num_outputs" not in {attribute.name for attribute in split.attribute}
    shape = [dim.dim_value for dim in stock.graph.input[0].type.tensor_type.shape.dim]
    x = noise(tuple(shape))
    np.testing.assert_array_equal(run_onnx(rewritten, x), run_onnx(stock, x))


def test_equal_parts_stay() -> None:
    _, reports = rewrite(_split(9, 3, 1))
    assert reports["uneven-split"].fired == 0
