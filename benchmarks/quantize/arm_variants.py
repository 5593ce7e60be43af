"""Other ways to write base-r224's int8 file, made from the product's file or its plan: what ``arm`` compares."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import numpy as np

from converters.quantize import quantise_int8
from converters.quantize.plan import make_plan
from converters.quantize.weights import quantise_weights
from converters.tflite.editor import FlatbufferEditor
from evit_mobile.tflite.file import Tflite
from evit_mobile.tflite.flatbuffer import pack
from evit_mobile.tflite.graph import Graph, Op

#: A variant: from the float model to an int8 one, the ranges being known.
Variant = Callable[[Tflite], bytes]
_DEPTHWISE = "DEPTHWISE_CONV_2D"
_WEIGHTED = {"CONV_2D", "FULLY_CONNECTED", _DEPTHWISE}
#: The first version of DEPTHWISE_CONV_2D that takes float activations and int8 weights a channel.
_HYBRID_DEPTHWISE = 6


def product(model: Tflite) -> bytes:
    """What ``convert --precision int8`` writes."""
    return quantise_int8(model, []).content


def float_depthwise(model: Tflite) -> bytes:
    """5x5 depthwise convolutions in float; the plan's cut says where their conversions are cheapest: at their ends."""
    return _in_float(model, _large_depthwise)


def float_depthwise_and_functions(model: Tflite) -> bytes:
    """The same with the hard-swishes around them: one conversion before the first, one behind the second."""
    return _in_float(model, _with_functions)


def _in_float(model: Tflite, chosen: Callable[[Graph], Iterator[int]]) -> bytes:
    def planned(graph: Graph, refused: dict[int, str], **ends: bool) -> Any:
        return make_plan(graph, {**refused, **dict.fromkeys(chosen(graph), "in float")}, **ends)

    with mock.patch("converters.quantize.make_plan", planned):
        return quantise_int8(model, []).content


def hybrid_depthwise(model: Tflite) -> bytes:
    """The same with int8 weights and float activations."""
    tree = Tflite(float_depthwise(model)).editable_tree()
    editor, graph = FlatbufferEditor(tree), Tflite(pack(tree)).graph
    for op, operator in zip(graph.ops, editor.subgraph.operators, strict=True):
        if op.type != _DEPTHWISE or graph.tensors[op.inputs[0]].dtype != "float32":
            continue
        weights = graph.tensors[op.inputs[1]].values()
        assert weights is not None
        made = quantise_weights(weights, op.type)
        scales = editor.quantisation(made.scales, [0] * len(made.scales), made.axis)
        operands = np.array(operator.inputs, np.int32)
        operands[1] = editor.add_constant(op.inputs[1], made.values, "INT8", scales)
        operator.inputs = operands
        operator.opcodeIndex = editor.opcode(op.type, _HYBRID_DEPTHWISE)
    editor.drop_unused_data()
    return pack(tree)


def arithmetic_hard_swish(model: Tflite) -> bytes:
    """x · relu6(x + 3) / 6 by int8 ADD and MUL: the result's range is the clamp, and the sixth goes into its scale."""
    tree = Tflite(product(model)).editable_tree()
    editor, graph = FlatbufferEditor(tree), Tflite(pack(tree)).graph
    operators = list(editor.subgraph.operators)
    replaced: dict[int, list[Any]] = {}
    for first, middle, last in _tables(graph):
        if not _layers_alone_read(last.outputs[0], graph):
            continue  # a sum, whose other operand has its own scale
        replaced |= {
            first.index: [],
            middle.index: [],
            last.index: _arithmetic(editor, first.inputs[0], last.outputs[0]),
        }
    editor.subgraph.operators = [
        new for index, operator in enumerate(operators) for new in replaced.get(index, [operator])
    ]
    editor.drop_unused_data()
    return pack(tree)


def one_scale_depthwise(model: Tflite) -> bytes:
    """Depthwise weights with one scale for all channels, for which XNNPACK has kernels of its own."""
    from converters.quantize import rewrite
    from converters.quantize.weights import QuantisedWeights

    def one_scale(weights: Any, kind: str, *rest: Any) -> Any:
        made = quantise_weights(weights, kind, *rest)
        if kind != _DEPTHWISE:
            return made
        scale = float(np.abs(weights).max()) / 127
        values = np.clip(np.round(weights / scale), -127, 127).astype(np.int8)
        return QuantisedWeights(values, np.full_like(made.scales, scale), made.axis)

    with mock.patch.object(rewrite, "quantise_weights", one_scale):
        tree = Tflite(product(model)).editable_tree()
    graph = Tflite(pack(tree)).graph
    for op in graph.ops:
        if op.type == _DEPTHWISE:
            for index in op.inputs[1:]:
                described = tree.subgraphs[0].tensors[index].quantization
                described.scale, described.zeroPoint = described.scale[:1], described.zeroPoint[:1]
                described.quantizedDimension = 0
    return pack(tree)


VARIANTS: dict[str, Variant] = {
    "as converted": product,
    "5x5 depthwise in float": float_depthwise,
    "5x5 depthwise and its hard-swishes in float": float_depthwise_and_functions,
    "5x5 depthwise with int8 weights alone": hybrid_depthwise,
    "hard-swish by int8 ADD and MUL": arithmetic_hard_swish,
    "depthwise weights with one scale": one_scale_depthwise,
}


def pairs_without_rounding(graph: Graph) -> int:
    """Convolutions and linear layers whose result another one alone reads, with nothing between."""
    readers = graph.readers()
    users = [readers.get(op.outputs[0], []) for op in graph.ops if op.type in _WEIGHTED]
    return sum(len(found) == 1 and found[0].type in _WEIGHTED for found in users)


def _large_depthwise(graph: Graph) -> Iterator[int]:
    for op in graph.ops:
        if op.type == _DEPTHWISE and graph.tensors[op.inputs[1]].shape[1:3] == (5, 5):
            yield op.index


def _with_functions(graph: Graph) -> Iterator[int]:
    producers, readers = {tensor: op for op in graph.ops for tensor in op.outputs}, graph.readers()
    for index in _large_depthwise(graph):
        op = graph.ops[index]
        around = [producers.get(op.inputs[0]), *readers.get(op.outputs[0], [])]
        yield from (index, *(item.index for item in around if item is not None and item.type == "HARD_SWISH"))


def _tables(graph: Graph) -> Iterator[tuple[Op, Op, Op]]:
    """DEQUANTIZE, HARD_SWISH and QUANTIZE that XNNPACK makes one table of."""
    producers, readers = {tensor: op for op in graph.ops for tensor in op.outputs}, graph.readers()
    for op in graph.ops:
        first, users = producers.get(op.inputs[0]), readers.get(op.outputs[0], [])
        if op.type == "HARD_SWISH" and first is not None and first.type == "DEQUANTIZE" and len(users) == 1:
            if users[0].type == "QUANTIZE" and graph.tensors[first.inputs[0]].dtype == "int8":
                yield first, op, users[0]


def _layers_alone_read(tensor: int, graph: Graph) -> bool:
    users = graph.readers().get(tensor, [])
    return all(
        user.type in _WEIGHTED or user.type == "PAD" and _layers_alone_read(user.outputs[0], graph) for user in users
    )


def _arithmetic(editor: FlatbufferEditor, source: int, result: int) -> list[Any]:
    """The two ops from tensor ``source`` to ``result``."""
    schema, tensors = editor.schema, editor.subgraph.tensors
    three = editor.add_constant(
        result,
        np.array([127], np.int8),
        "INT8",
        editor.quantisation(np.array([3 / 255], np.float32), [-128]),
        b"_three",
    )
    gate = schema.TensorT()
    gate.name, gate.shape, gate.type = (
        tensors[result].name + b"_gate",
        tensors[source].shape,
        editor.tensor_type("INT8"),
    )
    # In units of a sixth: ADD's own clamp is at the ends of what int8 holds here, 0 and 6.
    gate.quantization = editor.quantisation(np.array([6 / 255], np.float32), [-128])
    place = editor.add_tensor(gate)
    add, mul = editor.operator("ADD", [source, three], place, 2), editor.operator("MUL", [source, place], result, 2)
    for operator, kind in ((add, "Add"), (mul, "Mul")):
        operator.builtinOptionsType = getattr(schema.BuiltinOptions, f"{kind}Options")
        operator.builtinOptions = getattr(schema, f"{kind}OptionsT")()
    _six_times(editor, result)
    return [add, mul]


def _six_times(editor: FlatbufferEditor, index: int) -> None:
    """Let tensor ``index`` hold six times its values, and the weights of its readers, also of those behind a PAD, a
    sixth of theirs.
    """
    tensors = editor.subgraph.tensors
    tensors[index].quantization.scale = tensors[index].quantization.scale * np.float32(6)
    for operator in editor.subgraph.operators:
        if int(operator.inputs[0]) != index:
            continue
        if editor.kind(operator) == "PAD":
            _six_times(editor, int(operator.outputs[0]))
            continue
        weights = tensors[int(operator.inputs[1])].quantization
        weights.scale = weights.scale / np.float32(6)
