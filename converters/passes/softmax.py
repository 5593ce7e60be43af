"""A check, not a rewrite: says whether a softmax over the tokens is left in the graph, and where.

Given: softmax(q kᵀ / √d) v, whose [tokens, tokens] matrix makes time and memory grow with the square of the image's area.
Result: the graph as it was; each Softmax that a matrix product reads, as attention's weights are read, is declined by name. A softmax
over classes at an output is none of these.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from converters.passes.base import PassResult
from converters.passes.tools.graph import shape_of, where
from evit_mobile.specs import Target

if TYPE_CHECKING:
    import onnx_ir as ir


class NoSoftmax:
    """Reports softmax attention; never fires."""

    name = "no-softmax"
    reason = "softmax attention takes time and memory in the square of the tokens"

    def __call__(self, model: ir.Model, target: Target) -> PassResult:
        result = PassResult()
        for node in model.graph:
            if node.op_type == "Softmax" and _weighs_tokens(node):
                shape = shape_of(node.outputs[0])
                size = (
                    "of unknown shape"
                    if shape is None
                    else f"over a {shape[-2]}x{shape[-1]} matrix in each of its heads"
                )
                result.decline(
                    where(node), f"softmax attention {size}: another function than ReLU linear attention, left as it is"
                )
        return result


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
