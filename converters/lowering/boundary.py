"""Inputs and outputs keep their number, order and names across the lowering, whatever the names are.

onnx2tf rewrites names (``a:0``), and gives one tensor where two outputs are the same value or an output is an input. So
the graph goes in with plain names and each value once, and the names and the copies are put back into the .tflite: a
second output of the same value is a RESHAPE to the same shape, which a delegate takes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from converters.source.outputs import constant_output
from converters.tflite.editor import FlatbufferEditor
from evit_mobile.errors import RequestError

if TYPE_CHECKING:
    import onnx

_INPUT, _OUTPUT = "boundary/input_{}", "boundary/output_{}"


@dataclass(frozen=True)
class Boundary:
    """Names of a graph's ends, each with the plain name of the tensor that holds it."""

    inputs: dict[str, str]
    outputs: dict[str, str]


def plain(model: onnx.ModelProto) -> tuple[onnx.ModelProto, Boundary]:
    """A copy of ``model`` with plain names, without Identity, each computed output once; and what the names were.

    Raises:
        RequestError: no output is computed: all are inputs; or one is a constant, as may show when it is folded.
    """
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    graph = copy.graph
    constants = {tensor.name for tensor in graph.initializer}
    behind = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "Identity" and node.domain == ""}
    names: dict[str, str] = {}
    for position, value in enumerate(value for value in graph.input if value.name not in constants):
        names[value.name] = _INPUT.format(position)
    inputs = dict(names)
    outputs: dict[str, str] = {}
    for value in graph.output:
        root = _root(value.name, behind)
        if root in constants:
            raise constant_output(value.name, "the network")
        outputs[value.name] = names.setdefault(root, _OUTPUT.format(len(names)))
    kept: list[onnx.ValueInfoProto] = []
    for value in graph.output:
        if outputs[value.name] not in inputs.values() and outputs[value.name] not in {other.name for other in kept}:
            value.name = outputs[value.name]
            kept.append(value)
    if not kept:
        raise RequestError("every output of the network is an input of it: there is nothing to compute")
    for value in graph.input:
        value.name = names.get(value.name, value.name)
    _replace(graph.output, kept)
    _replace(graph.node, [node for node in graph.node if node.output[0] not in behind])
    _rename(graph, {**{name: names.get(_root(name, behind), _root(name, behind)) for name in behind}, **names})
    return copy, Boundary(inputs, outputs)


def _root(name: str, behind: Mapping[str, str]) -> str:
    while name in behind:
        name = behind[name]
    return name


def _replace(field: Any, items: list[Any]) -> None:
    """Set a repeated protobuf field; ``items`` may be some of its own."""
    copies = [type(item)() for item in items]
    for copy, item in zip(copies, items):
        copy.CopyFrom(item)
    del field[:]
    field.extend(copies)


def _rename(graph: onnx.GraphProto, names: Mapping[str, str]) -> None:
    """Rename what nodes read and write, in the graphs inside them too."""
    for node in graph.node:
        for field in (node.input, node.output):
            for position, name in enumerate(field):
                field[position] = names.get(name, name)
        for attribute in node.attribute:
            if attribute.HasField("g"):
                _rename(attribute.g, names)
                for value in attribute.g.output:
                    value.name = names.get(value.name, value.name)
    for value in graph.value_info:
        value.name = names.get(value.name, value.name)


def restore(editor: FlatbufferEditor, boundary: Boundary) -> None:
    """Give a model that was lowered from ``plain``'s graph the names and outputs of the graph before it."""
    graph, signature = editor.subgraph, editor.model.signatureDefs[0]
    places = {item.name.decode(): int(item.tensorIndex) for item in [*signature.inputs, *signature.outputs]}
    inputs = {name: places[plain_name] for name, plain_name in boundary.inputs.items() if plain_name in places}
    taken, outputs = set(inputs.values()), {}
    for name, plain_name in boundary.outputs.items():
        index = places[plain_name]
        outputs[name] = _copied(editor, index) if index in taken else index
        taken.add(index)
    for name, index in [*inputs.items(), *outputs.items()]:
        graph.tensors[index].name = name.encode()
    graph.inputs = np.array([index for index in graph.inputs], np.int32)
    graph.outputs = np.array(list(outputs.values()), np.int32)
    signature.inputs, signature.outputs = editor.entries(inputs), editor.entries(outputs)


def _copied(editor: FlatbufferEditor, index: int) -> int:
    """A tensor that holds what tensor ``index`` holds."""
    source, copy = editor.subgraph.tensors[index], editor.schema.TensorT()
    copy.shape, copy.shapeSignature, copy.type = source.shape, source.shapeSignature, source.type
    copy.name, copy.quantization, copy.buffer = source.name, source.quantization, 0
    target = editor.add_tensor(copy)
    editor.subgraph.operators.append(editor.reshape(index, target))
    return target
