"""Large constants of low rank as products of two small ones.

Given: a large constant that is added to a map, subtracted or multiplied, and that was made of few numbers: an embedding
of positions that was learned for 7x7 places and resized to 256x256, with a window's own repeated over it, is a matrix
of rank 14.
Result: FULLY_CONNECTED of two factors, and RESHAPE. The delegate computes the constant in each run.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from converters.lowering.writer import OpWriter
from converters.tflite.editor import FlatbufferEditor
from evit_mobile.arrays import Array, Float32Array

#: Elements from which a constant is worth two ops: a megabyte.
_LARGE = 2**18
#: The factors have at most this share of its elements.
_SHARE = 0.25
#: A side of the matrix whose products with itself are decomposed: a cube of it in operations.
_LONGEST_SIDE = 2048
#: By how much the product may differ, as a part of the largest magnitude: four roundings of a float32.
_EXACT = 2**-22
_READERS = frozenset({"ADD", "SUB", "MUL"})


def factor_constants(editor: FlatbufferEditor) -> None:
    """Replace such constants of a float32 model."""
    writer, changed = OpWriter(editor), False
    made: dict[int, int] = {}
    for operator in editor.subgraph.operators:
        if editor.kind(operator) in _READERS:
            inputs = [_product(editor, writer, int(index), made) for index in operator.inputs]
            changed |= inputs != list(operator.inputs)
            operator.inputs = np.array(inputs, np.int32)
        writer.operators.append(operator)
    if changed:
        editor.subgraph.operators = writer.operators
        editor.drop_unused_data()


def _product(editor: FlatbufferEditor, writer: OpWriter, index: int, made: dict[int, int]) -> int:
    """The tensor that holds what tensor ``index`` holds: itself, or a product's; ``made`` knows those of before."""
    if index not in made:
        made[index] = index
        values = _large_constant(editor, index)
        factors = None if values is None else _factors(values)
        if values is not None and factors is not None:
            rows = editor.add_constant(index, factors[0], "FLOAT32", None, b"_rows")
            made[index] = writer.reshape(writer.product(rows, factors[1]), values.shape)
    return made[index]


def _large_constant(editor: FlatbufferEditor, index: int) -> Array | None:
    tensor: Any = editor.subgraph.tensors[index]
    if tensor.type != editor.schema.TensorType.FLOAT32 or math.prod(editor.shape(index)) < _LARGE:
        return None
    return editor.constant(index)


def _factors(values: Array) -> tuple[Float32Array, Float32Array] | None:
    """[A, r] and [B, r] whose product is ``values``, its axes in two groups; None where r is too large for all."""
    best: tuple[Float32Array, Float32Array] | None = None
    most = int(values.size * _SHARE)
    for split in range(1, values.ndim):
        shape = math.prod(values.shape[:split]), math.prod(values.shape[split:])
        if 1 < min(shape) <= _LONGEST_SIDE:
            found = _of_matrix(values.reshape(shape), most // sum(shape))
            if found is not None:
                best, most = found, found[0].size + found[1].size
    return best


def _of_matrix(matrix: Array, most: int) -> tuple[Float32Array, Float32Array] | None:
    """The factors of a matrix, of rank ``most`` at most."""
    if len(matrix) > matrix.shape[1]:
        swapped = _of_matrix(matrix.T, most)
        return None if swapped is None else swapped[::-1]
    wide = matrix.astype(np.float64)
    # The directions of its rows, the largest first: A is short, so that A x A is small.
    _, directions = np.linalg.eigh(wide @ wide.T)
    largest = np.abs(wide).max()

    def of_rank(rank: int) -> tuple[Float32Array, Float32Array] | None:
        rows = directions[:, -rank:]
        left, right = rows.astype(np.float32), (wide.T @ rows).astype(np.float32)
        exact = np.abs(left @ right.T - matrix).max() <= _EXACT * largest
        return (left, right) if exact else None

    low, high = 0, min(most, len(matrix))
    if high < 1 or of_rank(high) is None:
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if of_rank(middle) is not None else (middle, high)
    return of_rank(high)
