"""What must be true of an ONNX file before any dependency reads its graph: a stride of 0 crashes one of them, a
function that calls itself another, and a loop of 10^12 turns has no end.

The checks are of what a file says of itself, and take time in the number of nodes. Shapes are checked afterwards, by
onnx.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

from converters.source.outputs import constant_output
from evit_mobile.errors import RequestError

if TYPE_CHECKING:
    import onnx

#: The largest tensor that a file may name or make: 2^28 float32 elements are 1 GB, far above a layer's of a mobile
#: network.
MAX_ELEMENTS = 2**28
#: Nodes of a network, with its functions written out: the largest of timm have some thousand.
MAX_NODES = 100_000
#: Turns of a loop that a network may ask for by a constant.
MAX_TURNS = 2**16
#: Attributes that count or step, of whatever op: all must be positive.
_POSITIVE = {
    "strides",
    "kernel_shape",
    "dilations",
    "group",
    "num_groups",
    "num_heads",
    "num_outputs",
    "blocksize",
    "hidden_size",
}

#: ONNX's numbers of types that an output cannot have: complex numbers, floats of 8 bits or fewer, parts of a byte.
_NO_OUTPUT = frozenset({14, 15, *range(17, 27)})
#: Which input of a convolution has the weights.
_WEIGHTS_AT = {"Conv": 1, "ConvTranspose": 1, "ConvInteger": 1, "DeformConv": 1, "QLinearConv": 3}
#: Ops that give other values at each call.
_RANDOM = frozenset(
    {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli"}
)
#: Ops whose output has as many dimensions as their first input.
_KEEP_RANK = {
    "Relu", "Clip", "Sigmoid", "Tanh", "HardSwish", "HardSigmoid", "LeakyRelu", "Elu", "Gelu", "Softmax", "Identity",
    "Pad", "MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "BatchNormalization",
    "InstanceNormalization", "Transpose",
}  # fmt: skip


def check_structure(model: onnx.ModelProto, name: str) -> None:
    """The file describes a network: nodes, outputs, known operator sets, attributes that can be, tensors of a size that
    can be.

    Raises:
        RequestError: it does not; the message says what stands in the way.
    """
    import onnx

    graph = model.graph
    if not graph.node:
        raise RequestError(f"{name} has no nodes: it is no network")
    if not graph.output:
        raise RequestError(f"{name} has no outputs")
    _check_operator_sets(model, name)
    _check_size(model, name)
    for output in graph.output:
        kind = output.type.tensor_type.elem_type
        if kind == 8 or output.type.WhichOneof("value") not in ("tensor_type", None):
            raise RequestError(f"output {output.name} of {name} is not a tensor of numbers")
        if kind in _NO_OUTPUT:
            type_name = onnx.TensorProto.DataType.Name(kind).lower()
            raise RequestError(f"output {output.name} of {name} is {type_name}, which TFLite has no tensors of")
        if any(output.name == tensor.name for tensor in graph.initializer):
            raise constant_output(output.name, name)
    _check_graph(graph, {}, name)
    for function in model.functions:
        for node in function.node:
            _check_node(node, {}, name)


def _check_graph(graph: onnx.GraphProto, outer: dict[str, onnx.TensorProto], name: str) -> None:
    """The tensors and nodes of a graph, or of one inside a node of a graph whose constants are ``outer``."""
    for tensor in graph.initializer:
        _check_tensor(tensor, name)
    constants = {**outer, **{tensor.name: tensor for tensor in graph.initializer}}
    for node in graph.node:
        if node.op_type == "Constant":
            constants |= {text: item.t for text in node.output for item in node.attribute if item.name == "value"}
        _check_node(node, constants, name)
    _check_windows(graph, constants, name)


def _check_operator_sets(model: onnx.ModelProto, name: str) -> None:
    import onnx

    local = {function.domain for function in model.functions}
    newest = onnx.defs.onnx_opset_version()
    for entry in model.opset_import:
        if entry.domain in ("", "ai.onnx") and not 1 <= entry.version <= newest:
            raise RequestError(f"{name} is of opset {entry.version}, and the newest that is read is {newest}")
    for node in model.graph.node:
        if node.domain not in ("", "ai.onnx") and node.domain not in local:
            hint = "only ONNX's own operators are converted"
            raise RequestError(f"{name} has {node.op_type} of the operator set {node.domain}", hint=hint)


def _check_size(model: onnx.ModelProto, name: str) -> None:
    """Functions do not call themselves, and written out they are of a size that can be."""
    functions = {(function.domain, function.name): function for function in model.functions}
    sizes: dict[tuple[str, str], int | None] = {}

    def size_of(nodes: Iterable[onnx.NodeProto]) -> int:
        return sum(
            function_size((node.domain, node.op_type))
            + sum(size_of(inner.node) for item in node.attribute for inner in (item.g, *item.graphs))
            for node in nodes
        )

    def function_size(key: tuple[str, str]) -> int:
        if key not in functions:
            return 1
        if key not in sizes:
            sizes[key] = None
            sizes[key] = min(size_of(functions[key].node), MAX_NODES + 1)
        size = sizes[key]
        if size is None:
            raise RequestError(f"function {key[1]} of {name} calls itself")
        return size

    if size_of(model.graph.node) > MAX_NODES:
        raise RequestError(f"{name} has more than {MAX_NODES} nodes, its functions written out")


def _check_tensor(tensor: onnx.TensorProto, name: str) -> None:
    if any(size < 0 for size in tensor.dims):
        raise RequestError(f"tensor {tensor.name} of {name} has a negative size: {list(tensor.dims)}")
    if math.prod(tensor.dims) > MAX_ELEMENTS:
        raise RequestError(
            f"tensor {tensor.name} of {name} has {math.prod(tensor.dims)} elements, the limit is {MAX_ELEMENTS}"
        )
    for entry in tensor.external_data:
        if entry.key in ("offset", "length") and not (entry.value.isdecimal() and int(entry.value) < 2**40):
            raise RequestError(f"the external data of {tensor.name} in {name} has {entry.key} {entry.value}")


def _check_node(node: onnx.NodeProto, constants: dict[str, onnx.TensorProto], name: str) -> None:
    if not all(isinstance(text, str) for text in (node.op_type, node.name, *node.input, *node.output)):
        raise RequestError(f"{name} has names that are not UTF-8")
    where = f"{node.op_type} {node.name or ', '.join(node.output)} of {name}"
    for attribute in node.attribute:
        numbers = [*attribute.ints, attribute.i] if attribute.name in _POSITIVE and attribute.type in (2, 7) else []
        counted = list(attribute.ints) if attribute.type == 7 else [attribute.i] if attribute.type == 2 else []
        if numbers and any(number < 1 or number > 2**31 for number in counted):
            raise RequestError(
                f"{where} has {attribute.name} {counted if attribute.type == 7 else counted[0]}, which must be positive"
            )
        if attribute.name == "pads" and any(abs(number) > 2**20 for number in counted):
            raise RequestError(f"{where} pads by {max(counted, key=abs)}")
        if attribute.HasField("t"):
            _check_tensor(attribute.t, name)
        if attribute.name == "num_outputs" and attribute.i != len(node.output):
            raise RequestError(f"{where} has num_outputs {attribute.i} and {len(node.output)} outputs")
        for graph in (attribute.g, *attribute.graphs):
            _check_graph(graph, constants, name)
    _check_random(node, constants, where)
    _check_made(node, constants, where)


def _check_random(node: onnx.NodeProto, constants: dict[str, onnx.TensorProto], where: str) -> None:
    """Nothing is drawn at random: TFLite would draw other numbers."""
    if node.op_type in _RANDOM and node.domain in ("", "ai.onnx"):
        raise RequestError(f"{where} draws random numbers", hint="take the numbers as an input of the network")
    if node.op_type != "Dropout" or len(node.input) < 3:
        return
    ratio, training = (constants.get(text) for text in node.input[1:3])
    if training is not None and _numbers(training)[0] and (ratio is None or _numbers(ratio)[0]):
        raise RequestError(
            f"{where} drops values at random", hint="export the network in evaluation mode: call its eval()"
        )


def _check_windows(graph: onnx.GraphProto, constants: dict[str, onnx.TensorProto], name: str) -> None:
    """Convolutions have as many dimensions as their weights: onnx's inference of shapes reads past the end where they
    have not.
    """
    typed = [(value.name, value.type.tensor_type) for value in graph.input]
    ranks = {value: len(kind.shape.dim) for value, kind in typed if kind.HasField("shape")}
    for node in graph.node:
        if node.op_type in _KEEP_RANK and node.input[:1] and node.input[0] in ranks:
            ranks.update(dict.fromkeys(node.output[:1], ranks[node.input[0]]))
        if node.op_type not in _WEIGHTS_AT or len(node.input) <= _WEIGHTS_AT[node.op_type]:
            continue
        weights = constants.get(node.input[_WEIGHTS_AT[node.op_type]])
        if weights is None:
            continue
        rank = len(weights.dims)
        lengths = {item.name: len(item.ints) / (2 if item.name == "pads" else 1) for item in node.attribute}
        sizes = {lengths[key] for key in ("strides", "dilations", "kernel_shape", "pads") if key in lengths}
        if rank < 3 or sizes - {rank - 2} or ranks.get(node.input[0], rank) != rank:
            raise RequestError(
                f"{node.op_type} {node.name or ', '.join(node.output)} of {name} does not fit its weights "
                f"{list(weights.dims)}"
            )
        ranks.update(dict.fromkeys(node.output[:1], rank))


def _check_made(node: onnx.NodeProto, constants: dict[str, onnx.TensorProto], where: str) -> None:
    """A tensor whose size stands in constants, and a loop whose turns do, are of a size that can be."""
    if node.op_type == "Loop" and node.input[:1] and node.input[0] in constants:
        turns = _numbers(constants[node.input[0]])[0]
        if turns > MAX_TURNS:
            raise RequestError(f"{where} takes {turns:.3g} turns, the limit is {MAX_TURNS}")
    if node.op_type == "Range" and all(text in constants for text in node.input):
        start, limit, step = (float(_numbers(constants[text])[0]) for text in node.input)
        size = math.inf if step == 0 else (limit - start) / step
    elif (
        node.op_type in ("Reshape", "Expand", "ConstantOfShape", "Tile") and node.input and node.input[-1] in constants
    ):
        size = math.prod(abs(float(number)) for number in _numbers(constants[node.input[-1]]) if number not in (0, -1))
    else:
        return
    if not size <= MAX_ELEMENTS:
        raise RequestError(f"{where} makes {size:.3g} elements, the limit is {MAX_ELEMENTS}")


def _numbers(tensor: onnx.TensorProto) -> list[float]:
    """The numbers of a small constant; of a large one, or of one whose data are elsewhere, the number 1."""
    import onnx

    if tensor.external_data or math.prod(tensor.dims) > 64:
        return [1.0]
    return [float(number) for number in onnx.numpy_helper.to_array(tensor).reshape(-1)] or [1.0]
