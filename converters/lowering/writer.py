"""New ops of a lowered model, in the order in which they run."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np

from converters.tflite.editor import FlatbufferEditor
from evit_mobile.arrays import Array


class OpWriter:
    """Appends float32 ops to ``operators``; each result is the index of a new tensor."""

    def __init__(self, editor: FlatbufferEditor) -> None:
        self._editor, self._schema = editor, editor.schema
        self.operators: list[Any] = []

    def tensor_like(self, index: int, shape: Sequence[int], suffix: bytes) -> int:
        """A new tensor of tensor ``index``'s type and of ``shape``."""
        tensor = copy.deepcopy(self._editor.subgraph.tensors[index])
        tensor.shape, tensor.shapeSignature, tensor.name = np.array(shape, np.int32), None, tensor.name + suffix
        tensor.buffer = 0
        return self._editor.add_tensor(tensor)

    def reshape(self, source: int, shape: Sequence[int]) -> int:
        """Tensor ``source`` with other sizes of as many values."""
        target = self.tensor_like(source, shape, b"_reshape")
        self.operators.append(self._editor.reshape(source, target))
        return target

    def transpose(self, source: int, order: Sequence[int]) -> int:
        """Tensor ``source`` with its axes in ``order``."""
        shape = [self._editor.shape(source)[axis] for axis in order]
        target = self.tensor_like(source, shape, b"_transpose")
        self.operators.append(self._editor.transpose(source, order, target))
        return target

    def slice(self, source: int, axis: int, start: int, count: int) -> int:
        """``count`` places of an axis."""
        shape = list(self._editor.shape(source))
        starts = [start if place == axis else 0 for place in range(len(shape))]
        shape[axis] = count
        operands = [source, self._ints(source, starts, b"_start"), self._ints(source, shape, b"_size")]
        return self._append("SLICE", "SliceOptions", self._schema.SliceOptionsT(), operands, shape)

    def concatenate(self, parts: Sequence[int], axis: int) -> int:
        """Tensors one behind the other along an axis."""
        shape = list(self._editor.shape(parts[0]))
        shape[axis] = sum(self._editor.shape(part)[axis] for part in parts)
        options = self._schema.ConcatenationOptionsT()
        options.axis = axis
        return self._append("CONCATENATION", "ConcatenationOptions", options, list(parts), shape)

    def product(self, rows: int, matrix: Array) -> int:
        """Rows [M, n] times ``matrix`` [m, n], transposed."""
        operands = [rows, self._editor.add_constant(rows, matrix.astype(np.float32), "FLOAT32", None, b"_matrix"), -1]
        options = self._schema.FullyConnectedOptionsT()
        shape = [self._editor.shape(rows)[0], len(matrix)]
        return self._append("FULLY_CONNECTED", "FullyConnectedOptions", options, operands, shape)

    def pad(self, source: int, edges: Array) -> int:
        """Zeros around a tensor; ``edges`` [rank, 2] before and behind each axis."""
        shape = np.array(self._editor.shape(source)) + edges.sum(1)
        operands = [source, self._editor.add_constant(source, edges.astype(np.int32), "INT32", None, b"_edges")]
        return self._append("PAD", "PadOptions", self._schema.PadOptionsT(), operands, list(shape))

    def add(self, source: int, values: Array) -> int:
        """A tensor and a constant that broadcasts to its shape."""
        operands = [source, self._editor.add_constant(source, values, "FLOAT32", None, b"_added")]
        return self._append("ADD", "AddOptions", self._schema.AddOptionsT(), operands, self._editor.shape(source))

    def rename(self, result: int, target: int) -> None:
        """Let the op that wrote ``result``, or else a RESHAPE of it, write tensor ``target``."""
        last = self.operators[-1] if self.operators else None
        if last is not None and last.outputs[0] == result and self._editor.shape(result) == self._editor.shape(target):
            last.outputs = np.array([target], np.int32)
        else:
            self.operators.append(self._editor.reshape(result, target))

    def _ints(self, like: int, numbers: Sequence[int], suffix: bytes) -> int:
        return self._editor.add_constant(like, np.array(numbers, np.int32), "INT32", None, suffix)

    def _append(self, kind: str, options_name: str, options: Any, inputs: list[int], shape: Sequence[int]) -> int:
        result = self.tensor_like(inputs[0], shape, b"_" + kind.lower().encode())
        operator = self._editor.operator(kind, inputs, result)
        operator.builtinOptionsType = getattr(self._schema.BuiltinOptions, options_name)
        operator.builtinOptions = options
        self.operators.append(operator)
        return result
