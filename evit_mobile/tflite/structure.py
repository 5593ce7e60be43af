"""Whether the parts of a .tflite fit together: what runtimes take for granted, and read or write out of bounds where it
is not so.
"""

from __future__ import annotations

import math
from typing import Any, Iterator, Sequence

from evit_mobile.errors import RequestError
from evit_mobile.specs import MAX_INPUT_ELEMENTS

#: Bits of one value, by the type's name in the schema. Strings, resources and variants have no fixed size.
_BITS = {
    "FLOAT32": 32, "FLOAT16": 16, "BFLOAT16": 16, "FLOAT64": 64, "COMPLEX64": 64, "COMPLEX128": 128, "BOOL": 8,
    "INT4": 4, "INT8": 8, "UINT8": 8, "INT16": 16, "UINT16": 16, "INT32": 32, "UINT32": 32, "INT64": 64, "UINT64": 64,
}  # fmt: skip
#: The first input that may be absent (-1), by op; of other ops none may be.
_OPTIONAL_FROM = {
    "CONV_2D": 2, "DEPTHWISE_CONV_2D": 2, "FULLY_CONNECTED": 2, "TRANSPOSE_CONV": 3, "CONV_3D": 2,
    "CONV_3D_TRANSPOSE": 3, "SVDF": 3, "LSTM": 1, "UNIDIRECTIONAL_SEQUENCE_LSTM": 1, "BIDIRECTIONAL_SEQUENCE_LSTM": 1,
    "BIDIRECTIONAL_SEQUENCE_RNN": 1, "CUSTOM": 0, "STABLEHLO_CUSTOM_CALL": 0, "STABLEHLO_COMPOSITE": 0,
}  # fmt: skip
#: Ops that read at least their input and their weights.
_WEIGHTED = {"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "CONV_3D", "TRANSPOSE_CONV", "BATCH_MATMUL"}
#: Fields of options that count pixels, from 1.
_STEPS = {
    "strideW", "strideH", "strideD", "dilationWFactor", "dilationHFactor", "dilationDFactor", "filterWidth",
    "filterHeight",
}  # fmt: skip


def check_structure(model: Any, name: str, size: int) -> None:
    """Refuse an object tree (``ModelT``) whose parts do not fit together.

    Args:
        model: the object tree.
        name: what an error calls the file.
        size: of the file, bytes.

    Raises:
        RequestError: the first fault.
    """
    fault = next(_faults(model, size), None)
    if fault is not None:
        raise RequestError(f"{name} is damaged: {fault}", hint="convert or copy it again")


def _faults(model: Any, size: int) -> Iterator[str]:
    from ai_edge_litert import schema_py_generated as schema

    if not model.subgraphs:
        yield "it has no graph"
        return
    if not all(_is_text(name) for name in _all_names(model)):
        yield "it has a name that is not UTF-8"
    for index, buffer in enumerate(model.buffers or []):
        if buffer.offset > 1 and buffer.offset + buffer.size > size:
            yield f"buffer {index} lies outside the file"
    for signature in model.signatureDefs or []:
        if signature.subgraphIndex >= len(model.subgraphs):
            yield "a signature names a graph that it does not have"
            return
        tensors = len(model.subgraphs[signature.subgraphIndex].tensors or [])
        if any(entry.tensorIndex >= tensors for entry in [*(signature.inputs or []), *(signature.outputs or [])]):
            yield "a signature names a tensor that it does not have"
    types, ops = _names(schema.TensorType), _names(schema.BuiltinOperator)
    for graph in model.subgraphs:
        yield from _graph_faults(model, graph, types, ops)


def _all_names(model: Any) -> Iterator[bytes | None]:
    """Names that runtimes turn into text."""
    for graph in model.subgraphs:
        yield graph.name
        yield from (tensor.name for tensor in graph.tensors or [])
    yield from (code.customCode for code in model.operatorCodes or [])
    for signature in model.signatureDefs or []:
        yield signature.signatureKey
        yield from (entry.name for entry in [*(signature.inputs or []), *(signature.outputs or [])])


def _is_text(name: bytes | None) -> bool:
    try:
        return name is None or name.decode() is not None
    except UnicodeDecodeError:
        return False


def _graph_faults(model: Any, graph: Any, types: dict[int, str], ops: dict[int, str]) -> Iterator[str]:
    tensors = graph.tensors or []
    for index, tensor in enumerate(tensors):
        yield from (f"tensor {index} {fault}" for fault in _tensor_faults(model, tensor, types))
    for end, indices in (("input", graph.inputs), ("output", graph.outputs)):
        if any(not 0 <= index < len(tensors) for index in values_of(indices)):
            yield f"an {end} of the graph is a tensor that it does not have"
            return
    for index in values_of(graph.inputs):
        elements = math.prod(map(int, values_of(tensors[index].shape)))
        if elements > MAX_INPUT_ELEMENTS:
            yield f"input {index} has {elements} elements, the limit is {MAX_INPUT_ELEMENTS}"
    for index, op in enumerate(graph.operators or []):
        if not 0 <= op.opcodeIndex < len(model.operatorCodes or []):
            yield f"op {index} is of no kind that the file lists"
            continue
        code = model.operatorCodes[op.opcodeIndex]
        kind = ops.get(max(code.builtinCode, code.deprecatedBuiltinCode))
        if kind is None:
            yield f"op {index} is of a kind that LiteRT does not know"
            continue
        faults = [*_operand_faults(op, kind, len(tensors)), *_option_faults(op, len(model.subgraphs))]
        yield from (f"op {index} ({kind}) {fault}" for fault in faults)
    yield from _order_faults(model, graph)


def _tensor_faults(model: Any, tensor: Any, types: dict[int, str]) -> Iterator[str]:
    kind = types.get(tensor.type)
    if kind is None:
        yield "has an unknown type"
        return
    shape = [int(side) for side in values_of(tensor.shape)]
    if any(side < -1 for side in [*shape, *map(int, values_of(tensor.shapeSignature))]):
        yield "has a negative size"
        return
    if not 0 <= tensor.buffer < len(model.buffers or []):
        yield "has its values in a buffer that the file does not have"
        return
    data = model.buffers[tensor.buffer].data if tensor.buffer else None
    held = 0 if data is None else len(data)
    bits = _BITS.get(kind)
    if held and bits is not None and tensor.sparsity is None and held != (math.prod(shape) * bits + 7) // 8:
        yield f"has {held} bytes of values, which is not what {kind.lower()} {shape} takes"
    yield from _quantisation_faults(tensor.quantization, shape)


def _quantisation_faults(quantisation: Any, shape: list[int]) -> Iterator[str]:
    scales = [] if quantisation is None else values_of(quantisation.scale)
    if not len(scales):
        return
    if len(values_of(quantisation.zeroPoint)) != len(scales):
        yield "has not one zero point for each scale"
    elif not all(math.isfinite(scale) for scale in scales):
        yield "has a scale that is not finite"
    elif len(scales) > 1:
        axis = quantisation.quantizedDimension
        if not 0 <= axis < len(shape) or shape[axis] != len(scales):
            yield "has not one scale for each channel"


def _operand_faults(op: Any, kind: str, tensors: int) -> Iterator[str]:
    inputs, outputs = values_of(op.inputs), values_of(op.outputs)
    optional = _OPTIONAL_FROM.get(kind, len(inputs))
    for place, index in enumerate(inputs):
        if not -1 <= index < tensors:
            yield f"reads tensor {index}, which does not exist"
        elif index == -1 and place < optional:
            yield f"has no input {place}, which it needs"
    if kind in _WEIGHTED and len(inputs) < 2:
        yield f"has {len(inputs)} inputs, and needs 2"
    for index in outputs:
        if not 0 <= index < tensors:
            yield f"writes tensor {index}, which does not exist"
    for index in [*values_of(op.intermediates)]:
        if not -1 <= index < tensors:
            yield f"uses tensor {index}, which does not exist"


def _option_faults(op: Any, graphs: int) -> Iterator[str]:
    from ai_edge_litert import schema_py_generated as schema

    options = {} if op.builtinOptions is None else vars(op.builtinOptions)
    for field, value in options.items():
        if field == "padding" and isinstance(value, int) and value not in _names(schema.Padding):
            yield f"has the unknown padding {value}"
        elif field == "fusedActivationFunction" and value not in _names(schema.ActivationFunctionType):
            yield f"has the unknown activation {value}"
        elif field in _STEPS and value < 1:
            yield f"has {field} {value}"
        elif (field == "subgraph" or field.endswith("SubgraphIndex")) and not 0 <= value < graphs:
            yield f"calls graph {value}, which does not exist"


def _order_faults(model: Any, graph: Any) -> Iterator[str]:
    """Ops run in the file's order: each tensor is written once, before it is read, and values of the file never."""
    operators = graph.operators or []
    writer: dict[int, int] = {}
    fixed = set(map(int, values_of(graph.inputs)))
    for index, tensor in enumerate(graph.tensors or []):
        buffer = tensor.buffer if 0 < tensor.buffer < len(model.buffers or []) else 0
        if buffer and (model.buffers[buffer].data is not None and len(model.buffers[buffer].data)):
            fixed.add(index)
    for number, op in enumerate(operators):
        for index in map(int, values_of(op.outputs)):
            if index in fixed or index in writer:
                yield f"op {number} writes tensor {index}, which has its values already"
            writer.setdefault(index, number)
    for number, op in enumerate(operators):
        for index in map(int, values_of(op.inputs)):
            if writer.get(index, -1) >= number and not graph.tensors[index].isVariable:
                yield f"op {number} reads tensor {index} before it is computed"


def bytes_of(tensor: Any) -> int:
    """What the values of a tensor of known type (``TensorT``) take by its shape; strings and the like take nothing."""
    from ai_edge_litert import schema_py_generated as schema

    bits = _BITS.get(_names(schema.TensorType)[tensor.type], 0)
    return (math.prod(int(side) for side in values_of(tensor.shape)) * bits + 7) // 8


def values_of(values: Any) -> Sequence[Any]:
    """A vector of the file, empty where it is absent."""
    return [] if values is None else values


def _names(enumeration: Any) -> dict[int, str]:
    return {value: name for name, value in vars(enumeration).items() if isinstance(value, int)}
