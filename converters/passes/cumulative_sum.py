"""Cumulative sums as a product with ones.

Given: CumSum of floats along a constant axis of static shape; TFLite's op for it is not delegated.
Result: along the axis a matrix of zeros and ones, which has a one wherever a place counts for another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from converters.passes.base import NodePass, Refused, Rewrite
from converters.passes.tools.axes import through_matrix
from converters.passes.tools.graph import Emitter, replace_value, scalar_of, shape_of
from evit_mobile.specs import Target

if TYPE_CHECKING:
    import onnx_ir as ir

#: The longest axis: its matrix has 2^20 elements.
_LONGEST = 1024


class CumulativeSum(NodePass):
    """Rewrites CumSum."""

    name = "cumulative-sum"
    reason = "TFLite's cumulative sum is not delegated"
    op_types = frozenset({"CumSum"})

    def match(self, node: ir.Node, target: Target) -> Rewrite | None:
        import onnx_ir as ir

        value, shape, axis = node.inputs[0], shape_of(node.inputs[0]), scalar_of(node.inputs[1])
        if value is None or value.dtype != ir.DataType.FLOAT:
            return None
        if shape is None or axis is None:
            raise Refused("its shape is not static, or its axis is computed")
        place = int(axis) % len(shape)
        if shape[place] > _LONGEST:
            raise Refused(f"its matrix would be too large: {shape[place]} places")
        exclusive, reverse = (node.attributes.get_int(name, 0) for name in ("exclusive", "reverse"))
        # Row i sums the places up to i, or before it; from behind it sums those from i on.
        matrix = np.tril(np.ones((shape[place], shape[place]), np.float32), -1 if exclusive else 0)

        def rewrite(emit: Emitter) -> None:
            replace_value(node.outputs[0], through_matrix(emit, value, place, matrix.T if reverse else matrix))

        return rewrite
