"""Parts of a Split by their sizes.

Given: Split into ``num_outputs`` parts of an axis that they do not divide; the last part is the smallest. The lowering
knows equal parts alone. Result: the same Split, which names its sizes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from converters.passes.base import NodePass, Refused, Rewrite
from converters.passes.tools.graph import Emitter, shape_of
from evit_mobile.specs import Target

if TYPE_CHECKING:
    import onnx_ir as ir


class UnevenSplit(NodePass):
    """Names the sizes of parts that are not equal."""

    name = "uneven-split"
    reason = "a split without sizes is lowered as one into equal parts"
    op_types = frozenset({"Split"})

    def match(self, node: ir.Node, target: Target) -> Rewrite | None:
        parts, shape = node.attributes.get_int("num_outputs", 0), shape_of(node.inputs[0])
        if not parts or len([value for value in node.inputs if value is not None]) > 1:
            return None
        if shape is None:
            raise Refused("its shape is not static")
        length = shape[node.attributes.get_int("axis", 0) % len(shape)]
        if length % parts == 0:
            return None
        # Operator specification of Split, opset 18: all parts but the last are as large as it takes.
        largest = -(-length // parts)
        sizes = [max(0, min(largest, length - largest * number)) for number in range(parts)]

        def rewrite(emit: Emitter) -> None:
            node.resize_inputs(2)
            node.replace_input_with(1, emit.ints("sizes", sizes))
            node.attributes.pop("num_outputs")

        return rewrite
