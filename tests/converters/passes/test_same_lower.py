"""Automatic pads with the odd place in front become numbers. Oracle: ONNX Runtime on the graph as it was; float32's
rounding.
"""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.kits.graphs import noise, rewrite, run_onnx

SHAPE = (1, 3, 8, 9)


def _padded(op: str, automatic: str, **attributes: list[int]) -> onnx.ModelProto:
    value = helper.make_tensor_value_info("x0", TensorProto.FLOAT, SHAPE)
    result = helper.make_tensor_value_info("y0", TensorProto.FLOAT, None)
    weights = numpy_helper.from_array(noise((4, 3, *attributes["kernel_shape"])), "w")
    inputs = ["x0", "w"] if op == "Conv" else ["x0"]
    node = helper.make_node(op, inputs, ["y0"], auto_pad=automatic, **attributes)
    graph = helper.make_graph([node], "padded", [value], [result], [weights] if op == "Conv" else [])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("op", ["Conv", "MaxPool", "AveragePool"])
@pytest.mark.parametrize("kernel", [[2, 2], [3, 4]])
@pytest.mark.parametrize("strides", [[1, 1], [2, 3]])
def test_rewritten(op: str, kernel: list[int], strides: list[int]) -> None:
    stock = _padded(op, "SAME_LOWER", kernel_shape=kernel, strides=strides)
    rewritten, reports = rewrite(stock)
    assert reports["same-lower"].fired == 1
    assert not any(
        item.name == "auto_pad" and item.s == b"SAME_LOWER" for n in rewritten.graph.node for item in n.attribute
    )
    # An average over a border may be computed as sum and count.
    np.testing.assert_allclose(run_onnx(rewritten, noise(SHAPE)), run_onnx(stock, noise(SHAPE)), rtol=0, atol=1e-6)


def test_upper_stays() -> None:
    assert not rewrite(_padded("Conv", "SAME_UPPER", kernel_shape=[3, 4]))[1]["same-lower"].fired
