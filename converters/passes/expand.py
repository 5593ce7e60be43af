"""Copies of a map along its axes.

Given: Expand or Tile of a float value; they are lowered to BROADCAST_TO or TILE, which leave the delegate.
Result: along axes of one place the value times ones, which broadcasts: a product by one is exact. Along others a Gather
by the places that Tile repeats.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from converters.passes.base import NodePass, Refused, Rewrite
from converters.passes.tools.graph import Emitter, constant_of, replace_value, shape_of
from evit_mobile.specs import Target

if TYPE_CHECKING:
    import onnx_ir as ir


class Expand(NodePass):
    """Rewrites Expand and Tile."""

    name = "expand"
    reason = "BROADCAST_TO and TILE leave the delegate; a product by ones broadcasts inside it"
    op_types = frozenset({"Expand", "Tile"})

    def match(self, node: ir.Node, target: Target) -> Rewrite | None:
        import onnx_ir as ir

        value, output = node.inputs[0], node.outputs[0]
        before, after = shape_of(value), shape_of(output)
        if value is None or constant_of(value) is not None or output.dtype is not ir.DataType.FLOAT:
            return None
        if before is None or after is None:
            raise Refused("its shape is not static")
        if before == after:
            return lambda emit: replace_value(output, value)
        return lambda emit: replace_value(output, _copied(emit, value, before, after))


def _copied(emit: Emitter, value: ir.Value, before: tuple[int, ...], after: tuple[int, ...]) -> ir.Value:
    shape = [1] * (len(after) - len(before)) + list(before)
    for axis, (small, large) in enumerate(zip(list(shape), after)):
        if small > 1 and small != large:
            value, shape[axis] = emit.reshape("aligned", value, shape), large
            table = emit.ints("places", list(range(small)) * (large // small))
            value = emit.op("Gather", "repeated", [value, table], shape, axis=axis)
    factors = [large // small for small, large in zip(shape, after)]
    if set(factors) == {1}:
        return value
    return emit.op("Mul", "copies", [value, emit.constant("ones", np.ones(factors, np.float32))], after)
