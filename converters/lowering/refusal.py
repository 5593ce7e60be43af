"""What the lowering cannot lower, in words: operators that TFLite has no form of."""

from __future__ import annotations

import re
from typing import Any

from converters.tflite.editor import FlatbufferEditor
from evit_mobile.errors import RequestError

#: Exit code of the worker where onnx2tf says that it has no lowering for an operator; the reason is the last line
#: printed.
UNSUPPORTED = 3
#: onnx2tf's own form of a reason.
_REASON = re.compile(r"op=(?P<type>\w+) node=(?P<node>\S+) .*message=(?P<text>.*)")
#: What onnx2tf calls a node without a name, and what belongs to it.
_UNNAMED = re.compile(r"sng_([A-Za-z0-9]+)_\d+")
#: Ops whose kernels read the scale of bytes.
_NOT_ON_BYTES = frozenset(
    {"ADD", "SUB", "MUL", "DIV", "FLOOR_MOD", "EQUAL", "NOT_EQUAL", "LESS", "LESS_EQUAL", "GREATER", "GREATER_EQUAL"}
)
#: What onnx2tf puts before the name of an operator that it passes on unlowered.
_PREFIX = "ONNX_"
_HINT = "write it with other operators"


def unsupported(words: str) -> RequestError:
    """The refusal for onnx2tf's own reason."""
    match = _REASON.search(words)
    return unsupported_node(f"{match['type']} at {match['node']}", match["text"]) if match else unsupported_node(words)


def unsupported_node(*words: str) -> RequestError:
    """The refusal for one operator, of the words for it and for the reason."""
    return RequestError(f"the network has an operator that cannot be lowered to TFLite: {': '.join(words)}", hint=_HINT)


def check_operators(lowered: Any, model: Any) -> None:
    """Every operator of a lowered model is one that runtimes have.

    Args:
        lowered: its object tree (``ModelT``).
        model: the ONNX graph that it was lowered from, for the places.

    Raises:
        RequestError: there are others; they are named, with the first node of each.
    """
    graph = lowered.subgraphs[0]
    outputs: dict[str, list[list[str]]] = {}
    for operator in graph.operators:
        code = lowered.operatorCodes[operator.opcodeIndex]
        if code.customCode:
            names = [graph.tensors[place].name.decode() for place in operator.outputs]
            outputs.setdefault(code.customCode.decode(), []).append(names)
    if not outputs:
        return
    named = ", ".join(
        _place(kind, those[0], model) + (f" and {len(those) - 1} more" if len(those) > 1 else "")
        for kind, those in outputs.items()
    )
    raise RequestError(f"the network has operators that TFLite has no form of: {named}", hint=_HINT)


def check_data(editor: FlatbufferEditor, model: Any) -> None:
    """Every tensor that an op reads has data, of an input, a constant or another op, and a type that the op takes.

    Args:
        editor: of a lowered model.
        model: the ONNX graph that it was lowered from, for the places.

    Raises:
        RequestError: one has not; the op that reads it is named.
    """
    graph = editor.subgraph
    known = {int(index) for index in graph.inputs}
    known |= {int(index) for operator in graph.operators for index in operator.outputs}
    for operator in graph.operators:
        kind = editor.kind(operator)
        if kind in _NOT_ON_BYTES and _is_byte(editor, int(operator.inputs[0])):
            reason = "TFLite computes on uint8 where it is quantised alone"
        elif any(_lacks_data(editor, index) for index in {int(index) for index in operator.inputs} - known - {-1}):
            reason = f"its {kind} reads a tensor without data"
        else:
            continue
        raise unsupported_node(_origin(graph.tensors[operator.outputs[0]].name.decode(), model), reason)


def _is_byte(editor: FlatbufferEditor, index: int) -> bool:
    """Whether a tensor has plain bytes: ops that expect a scale end the process on them, or compute something else."""
    tensor = editor.subgraph.tensors[index]
    scales = None if tensor.quantization is None else tensor.quantization.scale
    return tensor.type == editor.schema.TensorType.UINT8 and (scales is None or not len(scales))


def _lacks_data(editor: FlatbufferEditor, index: int) -> bool:
    tensor = editor.subgraph.tensors[index]
    data = editor.model.buffers[tensor.buffer].data
    return not tensor.isVariable and 0 not in editor.shape(index) and (data is None or not len(data))


def _origin(tensor: str, model: Any) -> str:
    """Type and name of the node that a tensor was made for, as far as its name says it."""
    for node in model.graph.node:
        if tensor.startswith((node.output[0], node.name or node.output[0])):
            return f"{node.op_type} at {node.name or node.output[0]}"
    unnamed = _UNNAMED.match(tensor)
    return tensor if unnamed is None else unnamed[1]


def _place(kind: str, outputs: list[str], model: Any) -> str:
    """Type and name of the node that a custom op stands for: that of its outputs, else the first of its kind."""
    nodes = [node for node in model.graph.node if kind == f"{_PREFIX}{node.op_type.upper()}"]
    # The lowering adds to a tensor's name where it moves its axes.
    meant = [node for node in nodes if any(output.startswith(node.output[0]) for output in outputs)]
    node = next(iter(meant or nodes), None)
    return kind if node is None else f"{node.op_type} at {node.name or node.output[0]}"
