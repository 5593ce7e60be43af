"""One axis of a map at a time: through a matrix, or with every place repeated."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from converters.passes.tools.graph import Emitter, shape_of
from evit_mobile.arrays import Array

if TYPE_CHECKING:
    import onnx_ir as ir


def through_matrix(emit: Emitter, value: ir.Value, axis: int, matrix: Array) -> ir.Value:
    """``value`` with ``matrix`` [m, n] applied along ``axis``, which has n places before and m after; its shape must be
    static.
    """
    shape = shape_of(value)
    assert shape is not None
    after = (*shape[:axis], len(matrix), *shape[axis + 1 :])
    if axis == len(shape) - 1:
        return emit.op("MatMul", "along_axis", [value, emit.constant("matrix", matrix.T)], after)
    # [A, n, B] as [A, B, n], since a delegate wants its constant matrix on the right.
    outer, inner = math.prod(shape[:axis]), math.prod(shape[axis + 1 :])
    last = emit.transpose("axis_last", emit.reshape("as_rows", value, (outer, shape[axis], inner)), (0, 2, 1))
    product = [last, emit.constant("matrix", matrix.T)]
    result = emit.op("MatMul", "along_axis", product, (outer, inner, len(matrix)))
    return emit.reshape("as_map", emit.transpose("axis_back", result, (0, 2, 1)), after)


def repeated(emit: Emitter, value: ir.Value, axis: int, times: int) -> ir.Value:
    """``value`` with each place along ``axis`` ``times`` times in a row; its shape must be static."""
    shape = shape_of(value)
    assert shape is not None
    outer, inner = math.prod(shape[: axis + 1]), math.prod(shape[axis + 1 :])
    ones = emit.constant("ones", np.ones((1, times, 1), np.float32))
    rows = emit.reshape("rows", value, (outer, 1, inner))
    several = emit.op("Mul", "repeated", [rows, ones], (outer, times, inner))
    return emit.reshape("repeated_map", several, (*shape[:axis], times * shape[axis], *shape[axis + 1 :]))
