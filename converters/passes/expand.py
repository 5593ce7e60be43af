"""Copies of a map along an axis that it has one place of.

Given: Expand or Tile of a float value, whose copied axes have size 1; they are lowered to BROADCAST_TO or TILE, which
leave the delegate.
Result: the value times ones, which broadcasts: a product by one is exact.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from converters.passes.base import NodePass, Refused, Rewrite
from converters.passes.tools.graph import constant_of, replace_value, shape_of
from evit_mobile.specs import Target

if TYPE_CHECKING:
    import onnx_ir as ir


class Expand(NodePass):
    """Rewrites Expand and Tile along axes of size 1."""

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
        aligned = (1,) * (len(after) - len(before)) + before
        factors = [large // small for small, large in zip(aligned, after)]
        if any(factor > 1 and small > 1 for small, factor in zip(aligned, factors)):
            raise Refused("it repeats an axis that has more than one place")
        return lambda emit: replace_value(
            output, emit.op("Mul", "copies", [value, emit.constant("ones", np.ones(factors, np.float32))], after)
        )
