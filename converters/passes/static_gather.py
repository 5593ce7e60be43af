"""One place along an axis as a slice.

Given: Gather with a single constant index: a class token's [1, N, C] → [1, C]. GATHER of float maps leaves the
delegate. Result: Slice of that place, and a Reshape to what Gather gave.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from converters.passes.base import NodePass, Refused, Rewrite
from converters.passes.tools.graph import Emitter, constant_of, replace_value, shape_of
from evit_mobile.specs import Target

if TYPE_CHECKING:
    import onnx_ir as ir

#: The highest rank of a slice that is delegated.
_RANK = 4


class StaticGather(NodePass):
    """Rewrites Gather by one constant index."""

    name = "static-gather"
    reason = "GATHER of a float map leaves the delegate; a slice of one place does not"
    op_types = frozenset({"Gather"})

    def match(self, node: ir.Node, target: Target) -> Rewrite | None:
        import onnx_ir as ir

        source, index, shape = node.inputs[0], constant_of(node.inputs[1]), shape_of(node.outputs[0])
        if source is None or source.dtype != ir.DataType.FLOAT or constant_of(source) is not None:
            return None
        if index is None or index.size != 1:
            return None
        size = shape_of(source)
        if size is None or shape is None or len(size) > _RANK:
            raise Refused(f"its shape is not static, or of a rank above {_RANK}")
        axis = node.attributes.get_int("axis", 0) % len(size)
        place = int(index.reshape(())) % size[axis]

        def rewrite(emit: Emitter) -> None:
            one = emit.slice("place", source, axis, place, place + 1)
            replace_value(node.outputs[0], emit.reshape("place", one, shape))

        return rewrite
