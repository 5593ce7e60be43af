"""The primary subgraph of a .tflite as plain values: tensors, ops, what depends on what."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from evit_mobile.arrays import Array
from evit_mobile.errors import RequestError
from evit_mobile.text import visible
from evit_mobile.tflite.flatbuffer import read_bytes, unpack


@dataclass(frozen=True)
class Tensor:
    """A tensor of the file.

    Attributes:
        shape: -1 where a size is known only at run time.
        scale: of a quantised tensor, one or one per channel; empty otherwise. ``zero_point`` likewise.
        data: little-endian bytes of weights and other values that the file itself carries; None for all others.
    """

    index: int
    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: tuple[float, ...] = ()
    zero_point: tuple[int, ...] = ()
    data: bytes | None = None

    @property
    def constant(self) -> bool:
        return self.data is not None

    @property
    def size_bytes(self) -> int:
        """Bytes of the values; a size that is not known counts as 1."""
        if self.data is not None:
            return len(self.data)
        return int(np.prod([max(size, 1) for size in self.shape], dtype=np.int64)) * _ITEM_BYTES.get(self.dtype, 1)

    def values(self) -> Array | None:
        """A constant as an array, or None where it is not constant or of a type that numpy has not."""
        if self.data is None or self.dtype not in _ITEM_BYTES or self.dtype == "bfloat16":
            return None
        flat = np.frombuffer(self.data, self.dtype)
        return flat.reshape(self.shape) if flat.size == int(np.prod(self.shape)) else None


@dataclass(frozen=True)
class Op:
    """An operator by its builtin name (or a custom op's own); operands by tensor index, absent ones left out.

    ``options`` are the builtin options' fields by their schema names.
    """

    index: int
    type: str
    version: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: dict[str, Any]
    depends_on_input: bool


@dataclass(frozen=True)
class Graph:
    """The primary subgraph; ``subgraphs`` tells how many the file has."""

    tensors: list[Tensor]
    ops: list[Op]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    subgraphs: int

    def readers(self) -> dict[int, list[Op]]:
        """By tensor index, the ops that read it, each once and in the graph's order; tensors that none reads are left
        out.
        """
        readers: dict[int, list[Op]] = {}
        for op in self.ops:
            for index in dict.fromkeys(op.inputs):
                readers.setdefault(index, []).append(op)
        return readers

    def ancestors(self, tensors: set[int]) -> set[int]:
        """Indices of the ops that compute these tensors, and of all that those depend on."""
        needed, ancestors = set(tensors), set()
        for op in reversed(self.ops):
            if needed.intersection(op.outputs):
                ancestors.add(op.index)
                needed.update(op.inputs)
        return ancestors


_ITEM_BYTES = {
    "float32": 4, "float16": 2, "bfloat16": 2, "float64": 8, "int8": 1, "uint8": 1, "int16": 2, "uint16": 2, "int32": 4,
    "uint32": 4, "int64": 8, "uint64": 8, "bool": 1, "complex64": 8,
}  # fmt: skip


def read_graph(path: Path) -> Graph:
    """Read the .tflite at ``path``.

    Raises:
        RequestError: the file is absent, not a .tflite, or damaged.
    """
    return graph_of(unpack(read_bytes(path), str(path)), str(path))


def graph_of(model: Any, name: str = "this file") -> Graph:
    """The primary subgraph of an object tree (``ModelT``).

    Raises:
        RequestError: the parts of the tree, called ``name``, do not fit together.
    """
    try:
        return _graph_of(model)
    except (IndexError, AttributeError, TypeError, KeyError, ValueError) as error:
        raise RequestError(f"{name}: this .tflite file is damaged: its parts do not fit together") from error


def _graph_of(model: Any) -> Graph:
    from ai_edge_litert import schema_py_generated as schema

    op_names, type_names = _names(schema.BuiltinOperator), _names(schema.TensorType)
    graph = model.subgraphs[0]
    buffers = model.buffers
    tensors = [_tensor(index, tensor, type_names, buffers) for index, tensor in enumerate(graph.tensors)]
    live = set(map(int, graph.inputs))
    ops = []
    for index, operator in enumerate(graph.operators):
        code = model.operatorCodes[operator.opcodeIndex]
        # Old files hold small codes in a field of one byte; the larger of the two is meant.
        name = op_names[max(code.builtinCode, code.deprecatedBuiltinCode)]
        inputs, outputs = _indices(operator.inputs), _indices(operator.outputs)
        if depends := bool(live.intersection(inputs)):
            live.update(outputs)
        options = vars(operator.builtinOptions) if operator.builtinOptions is not None else {}
        kind = visible(code.customCode.decode(errors="replace")) if name == "CUSTOM" and code.customCode else name
        ops.append(Op(index, kind, code.version, inputs, outputs, options, depends))
    return Graph(tensors, ops, _indices(graph.inputs), _indices(graph.outputs), len(model.subgraphs))


def _tensor(index: int, tensor: Any, type_names: dict[int, str], buffers: list[Any]) -> Tensor:
    data = buffers[tensor.buffer].data if tensor.buffer else None
    shape = tensor.shapeSignature if tensor.shapeSignature is not None and len(tensor.shapeSignature) else tensor.shape
    quantisation = tensor.quantization
    scale = quantisation.scale if quantisation is not None and quantisation.scale is not None else ()
    zero = quantisation.zeroPoint if quantisation is not None and quantisation.zeroPoint is not None else ()
    return Tensor(
        index,
        visible(tensor.name.decode(errors="replace")) if tensor.name else "",
        tuple(map(int, shape if shape is not None else ())),
        type_names[tensor.type].lower(),
        tuple(map(float, scale)),
        tuple(map(int, zero)),
        bytes(data) if data is not None and len(data) else None,
    )


def _indices(values: Any) -> tuple[int, ...]:
    return tuple(int(value) for value in (values if values is not None else ()) if value >= 0)


def _names(enumeration: Any) -> dict[int, str]:
    return {value: name for name, value in vars(enumeration).items() if isinstance(value, int)}
