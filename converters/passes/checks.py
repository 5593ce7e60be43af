"""Checks, not rewrites: each reports what is left in the graph and never fires.

Given: softmax(q kᵀ / √d) v, whose [tokens, tokens] matrix makes time and memory grow with the square of the image's
area. Result: the graph as it was; each Softmax that a matrix product reads, as attention's weights are read, is
declined by name. A softmax over classes at an output is none of these.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from converters.passes.base import NodePass, Refused, Rewrite
from converters.passes.tools.graph import shape_of
from evit_mobile.specs import Target

if TYPE_CHECKING:
    import onnx_ir as ir


class NoSoftmax(NodePass):
    """Reports softmax attention; never fires."""

    name = "no-softmax"
    reason = "softmax attention takes time and memory in the square of the tokens"
    op_types = frozenset({"Softmax"})

    def match(self, node: ir.Node, target: Target) -> Rewrite | None:
        if not _weighs_tokens(node):
            return None
        shape = shape_of(node.outputs[0])
        size = "of unknown shape" if shape is None else f"over a {shape[-2]}x{shape[-1]} matrix in each of its heads"
        raise Refused(f"softmax attention {size}: not ReLU linear attention, so it is left as it is")


def _weighs_tokens(node: ir.Node) -> bool:
    """Whether a matrix product reads the softmax: the weights of an attention."""
    pending, seen = [node.outputs[0]], set()
    while pending:
        value = pending.pop()
        for reader in value.consumers():
            if reader.op_type == "MatMul":
                return True
            if reader.op_type in ("Dropout", "Cast", "Identity", "Reshape", "Transpose") and reader not in seen:
                seen.add(reader)
                pending.append(reader.outputs[0])
    return False
