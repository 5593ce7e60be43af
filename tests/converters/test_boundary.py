"""Outputs keep number, order and names; what TFLite has no form of is refused by name. Oracle: ONNX Runtime on the same
graph.
"""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper

from converters.lowering.boundary import plain
from converters.lowering.lower import Lowering
from converters.lowering.refusal import unsupported
from converters.passes import run_passes
from evit_mobile.errors import RequestError
from evit_mobile.runtimes import RUNTIMES
from evit_mobile.specs import Target
from evit_mobile.tflite.file import Tflite

SHAPE = [1, 6]


def graph(nodes: list[onnx.NodeProto], outputs: list[str], shape: list[int] = SHAPE) -> onnx.ModelProto:
    """A graph of the input ``in:0``, all of whose outputs have its shape."""
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ["in:0", *outputs]]
    graph = helper.make_graph(nodes, "g", values[:1], values[1:])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def shared_outputs() -> onnx.ModelProto:
    """``a:0`` and ``b`` are the same value, ``c`` is the input, ``d e`` is computed from the first."""
    copy = [
        helper.make_node("Identity", [source], [name]) for source, name in (("y", "a:0"), ("y", "b"), ("in:0", "c"))
    ]
    return graph([helper.make_node("Exp", ["in:0"], ["y"]), *copy, helper.make_node("Neg", ["b"], ["d e"])],
                 ["a:0", "b", "c", "d e"])  # fmt: skip


def test_passes_keep_shared_outputs() -> None:
    model = ir.from_proto(shared_outputs())
    run_passes(model, Target())
    rewritten = ir.to_proto(model)
    onnx.checker.check_model(rewritten, full_check=True)
    assert [value.name for value in rewritten.graph.output] == ["a:0", "b", "c", "d e"]
    assert {node.domain for node in rewritten.graph.node} == {""}


def test_plain_graph_has_each_value_once() -> None:
    renamed, boundary = plain(shared_outputs())
    onnx.checker.check_model(renamed, full_check=True)
    assert [node.op_type for node in renamed.graph.node] == ["Exp", "Neg"]
    assert len(renamed.graph.output) == 2 and list(boundary.outputs) == ["a:0", "b", "c", "d e"]
    assert boundary.outputs["a:0"] == boundary.outputs["b"] and boundary.outputs["c"] == boundary.inputs["in:0"]


def test_lowered_outputs_have_their_names_and_values() -> None:
    with Lowering() as lowering:
        content = lowering.lower(shared_outputs())
    x = np.linspace(-1, 1, 6, dtype=np.float32).reshape(SHAPE)
    with Tflite(content, "shared").on_disk() as path, RUNTIMES["litert"].open(path, threads=1, xnnpack=True) as session:
        assert session.output_names() == ["a:0", "b", "c", "d e"]
        assert [tensor.name for tensor in session.inputs] == ["in:0"]
        outputs = dict(zip(session.output_names(), session.run([x])))
    # 1e-6: exp of two libraries, rounded to float32.
    for name, expected in {"a:0": np.exp(x), "b": np.exp(x), "c": x, "d e": -np.exp(x)}.items():
        np.testing.assert_allclose(outputs[name], expected, rtol=1e-6)


def test_nothing_to_compute_is_refused() -> None:
    with pytest.raises(RequestError, match="nothing to compute"):
        plain(graph([helper.make_node("Identity", ["in:0"], ["out"])], ["out"]))


def test_an_operator_without_a_form_is_refused_by_name() -> None:
    node = helper.make_node("Einsum", ["in:0"] * 3, ["out"], equation="bi,bj,bk->bi", name="mixer/Einsum")
    with Lowering() as lowering, pytest.raises(RequestError, match="Einsum at mixer/Einsum") as caught:
        lowering.lower(graph([node], ["out"]))
    assert caught.value.exit_code == 2


def test_the_backends_own_reason_is_kept() -> None:
    words = (
        "flatbuffer_direct validation failed: op=Mod node=/a/Mod reason_code=x message=Mod with fmod=1 is not supported"
    )
    assert "Mod at /a/Mod: Mod with fmod=1 is not supported" in str(unsupported(words))


@pytest.mark.parametrize("op", ["Identity", None])
def test_constant_output_is_refused(op: str | None) -> None:
    """As folding leaves it: an initializer, or a copy of one."""
    model = graph([helper.make_node("Exp", ["in:0"], ["y"])], ["y", "ones"])
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.ones(SHAPE, np.float32), "c" if op else "ones"))
    if op is not None:
        model.graph.node.append(helper.make_node(op, ["c"], ["ones"]))
    with pytest.raises(RequestError, match="output ones of the network is a constant"):
        plain(model)


def test_arithmetic_on_bytes_is_refused() -> None:
    """LiteRT ends the process over it."""
    values = [helper.make_tensor_value_info(name, TensorProto.UINT8, SHAPE) for name in ("x", "y")]
    node = helper.make_node("Add", ["x", "x"], ["y"], "sum")
    model = helper.make_model(helper.make_graph([node], "g", values[:1], values[1:]), ir_version=8)
    model.opset_import[0].version = 17
    with Lowering() as lowering, pytest.raises(RequestError, match="Add at sum: TFLite computes on uint8"):
        lowering.lower(model)
