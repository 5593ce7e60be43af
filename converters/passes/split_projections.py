"""Parts of a projection as projections of their own, where an attention is left that the linear attention pass did not take.

Given: y [1, 3·h·d, H, W] from one convolution, reshaped to [1, 3, h, d, N] and taken apart by Gather, Slice or Split, as softmax
attention's q, k, v are. GATHER and slices of rank 5 leave the delegate.
Result: one convolution a part, with its rows of the weights, reshaped to the part's shape: y[:, table] is the convolution by W[table].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from converters.passes.base import PassResult
from converters.passes.graph import Array, Emitter, replace_value, shape_of, where
from converters.passes.linear_attention.channels import CannotSelect, ChannelSelector
from converters.passes.linear_attention.trace import Untraceable, trace
from evit_mobile.specs import Target

if TYPE_CHECKING:
    import onnx_ir as ir

_PARTING = frozenset({"Gather", "Slice", "Split"})
_MOVING = frozenset({"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Identity"})


@dataclass(frozen=True)
class _Part:
    """``value`` holds the whole channels ``table`` of ``root`` [1, C, H, W], in order."""

    value: ir.Value
    root: ir.Value
    table: Array


class SplitProjections:
    """Replaces Gather, Slice and Split of a convolution's channels by convolutions."""

    name = "split-projections"
    reason = "GATHER and 5-D STRIDED_SLICE leave the delegate; rows of a projection's weights can be taken beforehand"

    def __call__(self, model: ir.Model, target: Target) -> PassResult:
        result = PassResult()
        for node in [node for node in model.graph if node.op_type in _PARTING and node.domain == ""]:
            parts = [_part(output) for output in node.outputs]
            if any(part is None for part in parts):
                continue
            if not all(_is_only_parted(part.root) for part in parts if part is not None):
                result.decline(where(node), "the whole projection is read too, so its parts would be computed twice")
                continue
            emit = Emitter(model.graph, node, where(node))
            selector = ChannelSelector(emit)
            try:
                made = [(part, selector.select(part.root, part.table)) for part in parts if part is not None]
            except CannotSelect as error:
                result.decline(where(node), str(error))
                continue
            for part, value in made:
                shape = shape_of(part.value)
                assert shape is not None
                replace_value(part.value, emit.reshape("part", value, shape))
            result.fired += 1
        return result


def _is_only_parted(root: ir.Value) -> bool:
    """Whether everything that reads ``root`` takes parts of it, and none is what the graph gives out."""
    pending = [root]
    while pending:
        value = pending.pop()
        if value.is_graph_output():
            return False
        for reader in value.consumers():
            if reader.op_type in _PARTING:
                continue
            if reader.op_type not in _MOVING:
                return False
            pending += reader.outputs
    return True


def _part(value: ir.Value) -> _Part | None:
    """The part that ``value`` is; None where it is no choice of whole channels of a convolution, or has none of it to itself."""
    try:
        found = trace(value)
    except Untraceable:
        return None
    shape = shape_of(found.root)
    producer = found.root.producer()
    if shape is None or len(shape) != 4 or shape[0] != 1 or producer is None or producer.op_type != "Conv":
        return None
    tokens = shape[2] * shape[3]
    flat = found.index.reshape(-1)
    if found.relu or found.scale != 1.0 or flat.size % tokens or (flat < 0).any():
        return None
    table = flat[::tokens] // tokens
    whole = (table[:, None] * tokens + np.arange(tokens)).reshape(-1)
    if not np.array_equal(flat, whole) or len(table) == shape[1]:
        return None
    return _Part(value, found.root, table)
