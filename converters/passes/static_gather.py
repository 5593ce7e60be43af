"""One place along an axis as a slice.

Given: Gather with a single constant index: a class token's [1, N, C] → [1, C]. GATHER of float maps leaves the delegate.
Result: Slice of that place, and a Reshape to what Gather gave.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from converters.passes.base import PassResult
from converters.passes.tools.graph import Emitter, constant_of, replace_value, shape_of, where
from evit_mobile.specs import Target

if TYPE_CHECKING:
    import onnx_ir as ir

#: The highest rank of a slice that is delegated.
_RANK = 4


class StaticGather:
    """Rewrites Gather by one constant index."""

    name = "static-gather"
    reason = "GATHER of a float map leaves the delegate; a slice of one place does not"

    def __call__(self, model: ir.Model, target: Target) -> PassResult:
        import onnx_ir as ir

        result = PassResult()
        for node in [node for node in model.graph if node.op_type == "Gather" and node.domain == ""]:
            source, index, shape = node.inputs[0], constant_of(node.inputs[1]), shape_of(node.outputs[0])
            if (
                source is None
                or source.dtype != ir.DataType.FLOAT
                or index is None
                or index.size != 1
                or constant_of(source) is not None
            ):
                continue
            given = shape_of(source)
            if given is None or shape is None or len(given) > _RANK:
                result.decline(where(node), f"its shape is not static, or of a rank above {_RANK}")
                continue
            axis = node.attributes.get_int("axis", 0) % len(given)
            place = int(index.reshape(())) % given[axis]
            emit = Emitter(model.graph, node, where(node))
            replace_value(
                node.outputs[0], emit.reshape("place", emit.slice("place", source, axis, place, place + 1), shape)
            )
            result.fired += 1
        return result
