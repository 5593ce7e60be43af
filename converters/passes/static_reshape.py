"""Reshapes to sizes that stand in the file.

Given: Reshape whose sizes have a 0 or a -1, Flatten, or Squeeze and Unsqueeze of values of rank 5 and more, with a
static result. The lowering computes such sizes at run time where it is not sure of them.
Result: Reshape to the sizes themselves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from converters.passes.base import NodePass, Rewrite
from converters.passes.tools.graph import Emitter, constant_of, replace_value, shape_of
from evit_mobile.specs import Target

if TYPE_CHECKING:
    import onnx_ir as ir

#: The rank up to which Squeeze and Unsqueeze stay: those of maps are known to the lowering as such.
_RANK = 4


class StaticReshape(NodePass):
    """Rewrites Reshape to sizes that are not said, Flatten, Squeeze and Unsqueeze."""

    name = "static-reshape"
    reason = "sizes that the lowering is not sure of are computed at run time, outside the delegate"
    op_types = frozenset({"Reshape", "Flatten", "Squeeze", "Unsqueeze"})

    def match(self, node: ir.Node, target: Target) -> Rewrite | None:
        import onnx_ir as ir

        value, output = node.inputs[0], node.outputs[0]
        before, after = shape_of(value), shape_of(output)
        if value is None or before is None or after is None or 0 in after or output.dtype is not ir.DataType.FLOAT:
            return None
        if constant_of(value) is not None or not _is_unsure(node, before, after):
            return None

        def rewrite(emit: Emitter) -> None:
            sizes = emit.ints("sizes", after)
            replace_value(output, emit.op("Reshape", "static", [value, sizes], after))

        return rewrite


def _is_unsure(node: ir.Node, before: tuple[int, ...], after: tuple[int, ...]) -> bool:
    if node.op_type == "Reshape":
        sizes = constant_of(node.inputs[1])
        return sizes is None or bool((sizes < 1).any())
    return node.op_type == "Flatten" or max(len(before), len(after)) > _RANK
