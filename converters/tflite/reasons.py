"""Why an op was not delegated: asked of the runtime itself, with models of that one op.

The op is cut out with its constants and loaded alone. If the delegate takes it then, its place in the graph kept it
out. If not, one property at a time is changed to what is known to matter; the first change that lets the delegate take
it is the reason. The answer holds for the runtime that was asked, and for no other.
"""

from __future__ import annotations

import copy
from typing import Any, Callable

import numpy as np

from converters.tflite.partitions import read_partitioning
from evit_mobile.errors import EvitMobileError
from evit_mobile.processes import temporary_folder
from evit_mobile.runtimes import Runtime
from evit_mobile.tflite.file import Tflite
from evit_mobile.tflite.flatbuffer import pack
from evit_mobile.tflite.graph import Op, Tensor, graph_of

#: XNNPACK's tensors have at most 6 dimensions, and several of TFLite's ops only reach it with 4.
HIGH_RANK = 5
#: Ops that can be asked about at a lower rank: their operands and options count axes in ways that are known here.
AXIS_VECTORS = frozenset(
    {"STRIDED_SLICE", "SLICE", "TRANSPOSE", "RESHAPE", "BROADCAST_TO", "TILE", "GATHER", "CONCATENATION"}
)
QUANTISED = frozenset({"int8", "uint8", "int16"})
FLOATS = frozenset({"float32", "float16"})


class Experimenter:
    """Asks one runtime about the ops of one model. Answers are kept: equal ops are asked about once."""

    def __init__(self, model: Tflite, runtime: Runtime) -> None:
        self._model, self._graph, self._runtime = model.tree, model.graph, runtime
        self._answers: dict[str, str] = {}

    def reason(self, op: Op) -> str:
        """A sentence on why ``op``, an undelegated op of the model, was left to TFLite's own kernels."""
        tensors = [self._graph.tensors[index] for index in (*op.inputs, *op.outputs)]
        key = repr(
            (
                op.type,
                op.version,
                [(t.shape, t.dtype, t.scale, t.zero_point, t.constant) for t in tensors],
                _plain(op.options),
            )
        )
        if key not in self._answers:
            self._answers[key] = self._ask(op, tensors)
        return self._answers[key]

    def _ask(self, op: Op, tensors: list[Tensor]) -> str:
        name = self._runtime.name
        if any(size < 0 for tensor in tensors for size in tensor.shape):
            return "a shape that is known only at run time"
        if self._taken(op):
            return f"{name} delegates it when alone: its neighbours in the graph keep it out"
        data = [tensor for tensor in tensors if not tensor.constant]
        if any(tensor.dtype in QUANTISED for tensor in data):
            if self._taken(op, _one_scale):
                return f"the scales of its operands: with one scale for all {name} delegates it"
            if self._taken(op, _as_float):
                return f"{_kinds(data)}: in float32 {name} delegates it"
        rank = max((len(tensor.shape) for tensor in data), default=0)
        if rank >= HIGH_RANK and self._taken(op, _without_leading_axes):
            return f"rank {rank}: at rank {HIGH_RANK - 1} {name} delegates it"
        odd = [tensor for tensor in data if tensor.dtype not in FLOATS | QUANTISED]
        if odd:
            return f"{name} does not delegate {op.type} on {_kinds(odd)}"
        lower = rank >= HIGH_RANK and _without_leading_axes(_one_op_model(self._model, op.index))
        tried = f" and at rank {HIGH_RANK - 1}" if lower else ""
        return f"{name} does not delegate this {op.type} ({_kinds(data)}, rank {rank}), tried alone{tried}"

    def _taken(self, op: Op, change: Callable[[Any], bool] | None = None) -> bool:
        """Whether the delegate takes the op alone, after ``change`` if one is given; False too where the runtime
        refuses the model.
        """
        model = _one_op_model(self._model, op.index)
        if change is not None and not change(model):
            return False
        with temporary_folder() as folder:
            path = folder / "op.tflite"
            path.write_bytes(pack(model))
            try:
                with self._runtime.open(path) as session:
                    parts = read_partitioning(session.ops(), [info.index for info in session.outputs])
            except (EvitMobileError, RuntimeError):
                return False
        return parts.count > 0 and not parts.undelegated


def _one_op_model(source: Any, index: int) -> Any:
    """A model of the one operator, its run-time operands as inputs and its results as outputs."""
    from ai_edge_litert import schema_py_generated as schema

    graph = source.subgraphs[0]
    operator = copy.deepcopy(graph.operators[index])
    used = list(dict.fromkeys(int(tensor) for tensor in (*operator.inputs, *operator.outputs) if tensor >= 0))
    place = {old: new for new, old in enumerate(used)}
    model, alone = schema.ModelT(), schema.SubGraphT()
    model.version, model.buffers, model.subgraphs = 3, [schema.BufferT()], [alone]
    model.operatorCodes = [copy.deepcopy(source.operatorCodes[operator.opcodeIndex])]
    alone.tensors, alone.operators = [], [operator]
    operator.opcodeIndex = 0
    for old in used:
        tensor = copy.deepcopy(graph.tensors[old])
        buffer = source.buffers[tensor.buffer]
        tensor.buffer = 0
        if buffer.data is not None and len(buffer.data):
            model.buffers.append(copy.deepcopy(buffer))
            tensor.buffer = len(model.buffers) - 1
        alone.tensors.append(tensor)
    operator.inputs = np.array([place.get(int(old), -1) for old in operator.inputs], np.int32)
    operator.outputs = np.array([place[int(old)] for old in operator.outputs], np.int32)
    alone.inputs = [
        new for new in dict.fromkeys(map(int, operator.inputs)) if new >= 0 and not alone.tensors[new].buffer
    ]
    alone.outputs = list(map(int, operator.outputs))
    return model


def _one_scale(model: Any) -> bool:
    """Give every tensor that is quantised as a whole the scale and zero point of the first."""
    tensors = [
        t
        for t in model.subgraphs[0].tensors
        if not t.buffer and t.quantization is not None and _length(t.quantization.scale) == 1
    ]
    for tensor in tensors[1:]:
        tensor.quantization = tensors[0].quantization
    return len(tensors) > 1


def _as_float(model: Any) -> bool:
    """Make every quantised tensor float32, constants dequantised."""
    from ai_edge_litert import schema_py_generated as schema

    graph = graph_of(model)
    changed = False
    for tensor, plain in zip(model.subgraphs[0].tensors, graph.tensors, strict=True):
        if not plain.scale:
            continue
        values = plain.values()
        if values is not None:
            axis = [1] * values.ndim
            if len(plain.scale) > 1:
                axis[tensor.quantization.quantizedDimension] = len(plain.scale)
            points = plain.zero_point or (0,) * len(plain.scale)
            real = (values.astype(np.float32) - np.reshape(points, axis)) * np.reshape(plain.scale, axis)
            model.buffers[tensor.buffer].data = np.frombuffer(real.astype("<f4").tobytes(), np.uint8)
        tensor.type, tensor.quantization, changed = schema.TensorType.FLOAT32, None, True
    return changed


def _without_leading_axes(model: Any) -> bool:
    """Drop leading axes of size 1 until the rank is below HIGH_RANK, and with them their entries in vectors of axes."""
    plain = graph_of(model)
    ranks = [len(tensor.shape) for tensor in plain.tensors if not tensor.constant]
    drop = max(ranks) - HIGH_RANK + 1
    if plain.ops[0].type not in AXIS_VECTORS:
        return False
    for tensor, known in zip(model.subgraphs[0].tensors, plain.tensors, strict=True):
        if not known.constant:
            if len(known.shape) < HIGH_RANK:
                continue
            if set(known.shape[:drop]) != {1}:
                return False
            tensor.shape, tensor.shapeSignature = np.array(known.shape[drop:], np.int32), None
        elif known.shape == (max(ranks),):
            vector = np.frombuffer(known.data or b"", "<i4")
            # Axes are renumbered; begins, ends and sizes are not.
            shorter = vector[drop:] - drop if plain.ops[0].type == "TRANSPOSE" else vector[drop:]
            tensor.shape = np.array(shorter.shape, np.int32)
            model.buffers[tensor.buffer].data = np.frombuffer(shorter.astype("<i4").tobytes(), np.uint8)
    options = model.subgraphs[0].operators[0].builtinOptions
    if getattr(options, "axis", -1) >= drop:
        options.axis -= drop
    for mask in ("beginMask", "endMask", "shrinkAxisMask", "newAxisMask", "ellipsisMask"):
        if hasattr(options, mask):
            setattr(options, mask, getattr(options, mask) >> drop)
    return True


def _length(values: Any) -> int:
    return 0 if values is None else len(values)


def _kinds(tensors: list[Tensor]) -> str:
    return "/".join(dict.fromkeys(tensor.dtype for tensor in tensors))


def _plain(options: dict[str, Any]) -> str:
    return str({key: np.asarray(value).tolist() if value is not None else None for key, value in options.items()})
