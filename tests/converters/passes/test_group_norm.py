"""GroupNormalization and operators that ONNX defines by others: numerics by ONNX Runtime on the graph as it was."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from converters.passes import run_passes
from converters.passes.base import PassReport
from converters.passes.functions import expand_functions
from evit_mobile.specs import Target
from tests.kits.graphs import noise, ops, relative_error, run_onnx

IMAGE = (1, 8, 6, 4)


def _model(
    node: onnx.NodeProto, shapes: dict[str, tuple[int, ...]], opset: int, **constants: np.ndarray
) -> onnx.ModelProto:
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()]
    weights = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in constants.items()]
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, next(iter(shapes.values())))
    graph = helper.make_graph([node], "g", values, [result], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def _rewritten(model: onnx.ModelProto) -> tuple[onnx.ModelProto, dict[str, PassReport]]:
    graph = ir.from_proto(expand_functions(model))
    reports = {report.name: report for report in run_passes(graph, Target())}
    return ir.to_proto(graph), reports


@pytest.mark.parametrize("groups", [1, 2, 8])
def test_group_normalisation(groups: int) -> None:
    node = helper.make_node("GroupNormalization", ["x", "s", "b"], ["y"], num_groups=groups, epsilon=1e-3)
    model = _model(node, {"x": IMAGE}, 21, s=noise((8,), 1), b=noise((8,), 2))
    rewritten, reports = _rewritten(model)
    assert reports["group-norm"].fired == 1 and ops(rewritten)["GroupNormalization"] == 0
    x = noise(IMAGE)
    # A mean and a variance over at most 192 values in float32, each in an order of its own.
    assert relative_error(run_onnx(model, x), run_onnx(rewritten, x)) <= 2e-6


def test_a_computed_scale_is_declined() -> None:
    node = helper.make_node("GroupNormalization", ["x", "s", "b"], ["y"], num_groups=2)
    _, reports = _rewritten(_model(node, {"x": IMAGE, "s": (8,)}, 21, b=noise((8,), 2)))
    assert reports["group-norm"].fired == 0 and "computed" in reports["group-norm"].declined[0].reason


def test_attention_is_written_out() -> None:
    node = helper.make_node("Attention", ["q", "k", "v"], ["y"], q_num_heads=2, kv_num_heads=2)
    shape = (1, 6, 8)
    model = _model(node, {"q": shape, "k": shape, "v": shape}, 23)
    rewritten, _ = _rewritten(model)
    assert ops(rewritten)["Attention"] == 0 and ops(rewritten)["Softmax"] == 1
    inputs = [noise(shape, seed) for seed in range(3)]
    assert relative_error(run_onnx(model, *inputs), run_onnx(rewritten, *inputs)) <= 2e-6


def test_a_graph_without_such_operators_stays_as_it_is() -> None:
    model = _model(helper.make_node("Relu", ["x"], ["y"]), {"x": IMAGE}, 21)
    assert expand_functions(model) is model
