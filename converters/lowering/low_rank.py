"""Large constants of low rank as products of two small ones.

Given: a large constant that is added to a map, subtracted or multiplied, and that was made of few numbers: an embedding
of positions that was learned for 7x7 places and resized to 256x256, with a window's own repeated over it, is a matrix
of rank 14.
Given too: a table [..., s², s²] that is added to an attention's scores, and depends on how far apart two places of an
s x s window are, as biases by relative position do. As a matrix whose rows are pairs of window rows, and whose columns
are heads and pairs of window columns, it has no more than 2s - 1 different rows.
Result: FULLY_CONNECTED of two factors, RESHAPE, and for tables a TRANSPOSE. The delegate computes the constant in each
run.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from converters.lowering.writer import OpWriter
from converters.tflite.editor import FlatbufferEditor
from evit_mobile.arrays import Array, Float32Array

#: Elements from which a constant is worth the ops: half a megabyte.
_LARGE = 2**17
#: The factors have at most this share of its elements.
_SHARE = 0.25
#: A side of the matrix whose products with itself are decomposed: a cube of it in operations.
_LONGEST_SIDE = 2048
#: By how much the product may differ, as a part of the largest magnitude: four roundings of a float32.
_EXACT = 2**-22
#: What tables have to save of the whole file: one of six heads and 14x14 places costs 0.18 ms on x86-64, and a network
#: of such layers some 3 % of its latency.
_WORTH = 0.05
_READERS = frozenset({"ADD", "SUB", "MUL"})


def factor_constants(editor: FlatbufferEditor) -> None:
    """Replace such constants of a float32 model."""
    readers = [operator for operator in editor.subgraph.operators if editor.kind(operator) in _READERS]
    found = _found(editor, {int(index) for operator in readers for index in operator.inputs})
    if not found:
        return
    writer = OpWriter(editor)
    made: dict[int, int] = {}
    for operator in editor.subgraph.operators:
        if editor.kind(operator) in _READERS:
            for index in {int(index) for index in operator.inputs} & (found.keys() - made.keys()):
                made[index] = _product(editor, writer, index, found[index])
            operator.inputs = np.array([made.get(int(index), index) for index in operator.inputs], np.int32)
        writer.operators.append(operator)
    editor.subgraph.operators = writer.operators
    editor.drop_unused_data()


@dataclass(frozen=True)
class _Grouping:
    """A constant as a matrix: reshaped, its axes in another order, of which the first ``split`` count its rows."""

    shape: tuple[int, ...]
    order: tuple[int, ...]
    split: int

    @property
    def sizes(self) -> tuple[int, ...]:
        """The sizes of the axes in their order."""
        return tuple(self.shape[axis] for axis in self.order)

    @property
    def is_table(self) -> bool:
        return self.order != tuple(range(len(self.order)))

    def matrix(self, values: Array) -> Array:
        rows = math.prod(self.sizes[: self.split])
        return np.ascontiguousarray(values.reshape(self.shape).transpose(self.order)).reshape(rows, -1)

    def restored(self, writer: OpWriter, product: int) -> int:
        """The tensor of ``shape`` whose matrix is tensor ``product``."""
        result = writer.reshape(product, self.sizes)
        if not self.is_table:
            return result
        return writer.transpose(result, [self.order.index(axis) for axis in range(len(self.order))])


@dataclass(frozen=True)
class _Factors:
    """[A, r] and [B, r] whose product is a constant, grouped."""

    left: Float32Array
    right: Float32Array
    grouping: _Grouping


def _found(editor: FlatbufferEditor, indices: set[int]) -> dict[int, _Factors]:
    """The factors of constants among tensors ``indices`` that have some; of tables only where these are worth it."""
    constants = {index: _large_constant(editor, index) for index in sorted(indices)}
    found = {index: _factors(values) for index, values in constants.items() if values is not None}
    factors = {index: item for index, item in found.items() if item is not None}
    tables = {index: item for index, item in factors.items() if item.grouping.is_table}
    saved = sum(math.prod(item.grouping.shape) - item.left.size - item.right.size for item in tables.values())
    whole = sum(len(buffer.data) for buffer in editor.model.buffers if buffer.data is not None)
    if 4 * saved < _WORTH * whole:
        return {index: item for index, item in factors.items() if index not in tables}
    return factors


def _product(editor: FlatbufferEditor, writer: OpWriter, index: int, factors: _Factors) -> int:
    """The tensor that is computed in place of constant ``index``."""
    rows = editor.add_constant(index, factors.left, "FLOAT32", None, b"_rows")
    result = factors.grouping.restored(writer, writer.product(rows, factors.right))
    shape = editor.shape(index)
    return result if factors.grouping.shape == shape else writer.reshape(result, shape)


def _large_constant(editor: FlatbufferEditor, index: int) -> Array | None:
    tensor: Any = editor.subgraph.tensors[index]
    if tensor.type != editor.schema.TensorType.FLOAT32 or math.prod(editor.shape(index)) < _LARGE:
        return None
    return editor.constant(index)


def _groupings(shape: tuple[int, ...]) -> Iterator[_Grouping]:
    axes = tuple(range(len(shape)))
    yield from (_Grouping(shape, axes, split) for split in axes[1:])
    side = math.isqrt(shape[-1])
    if len(shape) > 1 and shape[-1] == shape[-2] == side**2:
        yield _Grouping((math.prod(shape[:-2]), *[side] * 4), (1, 3, 0, 2, 4), 2)


def _factors(values: Array) -> _Factors | None:
    """The factors of ``values`` in the grouping that needs the fewest elements; None where all need too many."""
    best: _Factors | None = None
    most = int(values.size * _SHARE)
    for grouping in _groupings(values.shape):
        rows = math.prod(grouping.sizes[: grouping.split])
        columns = values.size // rows
        if 1 < min(rows, columns) <= _LONGEST_SIDE:
            found = _of_matrix(grouping.matrix(values), most // (rows + columns))
            if found is not None:
                best = _Factors(*found, grouping)
                most = found[0].size + found[1].size
    return best


def _of_matrix(matrix: Array, most: int) -> tuple[Float32Array, Float32Array] | None:
    """The factors of a matrix, of rank ``most`` at most."""
    if len(matrix) > matrix.shape[1]:
        swapped = _of_matrix(matrix.T, most)
        return None if swapped is None else swapped[::-1]
    low, high = 0, min(most, len(matrix))
    if high < 1:
        return None
    wide = matrix.astype(np.float64)
    # The directions of its rows, the largest first: A is short, so that A x A is small.
    _, directions = np.linalg.eigh(wide @ wide.T)
    largest = np.abs(wide).max()

    def of_rank(rank: int) -> tuple[Float32Array, Float32Array] | None:
        rows = directions[:, -rank:]
        left, right = rows.astype(np.float32), (wide.T @ rows).astype(np.float32)
        exact = np.abs(left @ right.T - matrix).max() <= _EXACT * largest
        return (left, right) if exact else None

    if of_rank(high) is None:
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if of_rank(middle) is not None else (middle, high)
    return of_rank(high)
