"""Padding by less than nothing, and of named axes.

Given: Pad whose constant pads are partly negative, or belong to the axes that an input names, of a value of static
shape; the lowering knows neither.
Result: Slice of what stays, then Pad of all axes by the pads that are positive.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from converters.passes.base import NodePass, Refused, Rewrite
from converters.passes.tools.graph import Emitter, constant_of, replace_value, shape_of
from evit_mobile.arrays import Array
from evit_mobile.specs import Target

if TYPE_CHECKING:
    import onnx_ir as ir


class CroppingPad(NodePass):
    """Rewrites Pad by negative numbers, or of named axes."""

    name = "cropping-pad"
    reason = "TFLite pads by no negative numbers, and names no axes"
    op_types = frozenset({"Pad"})

    def match(self, node: ir.Node, target: Target) -> Rewrite | None:
        value, shape, after = node.inputs[0], shape_of(node.inputs[0]), shape_of(node.outputs[0])
        pads = _pads(node, len(shape)) if shape is not None else None
        if value is None or shape is None or pads is None or ((pads >= 0).all() and not _names_axes(node)):
            return None
        mode, kept = node.attributes.get_string("mode", "constant"), np.minimum(pads, 0)
        if after is None or 0 in after or (kept.any() and mode != "constant"):
            raise Refused("it repeats the border, or leaves nothing")

        def rewrite(emit: Emitter) -> None:
            part = value
            for axis, size in enumerate(shape):
                if kept[:, axis].any():
                    part = emit.slice("kept", part, axis, -int(kept[0, axis]), size + int(kept[1, axis]))
            positive = np.maximum(pads, 0)
            if not positive.any():
                replace_value(node.outputs[0], part)
                return
            fill = [node.inputs[2]] if len(node.inputs) > 2 and node.inputs[2] is not None else []
            operands = [part, emit.ints("pads", [int(size) for size in positive.reshape(-1)]), *fill]
            replace_value(node.outputs[0], emit.op("Pad", "padded", operands, after, mode=mode))

        return rewrite


def _names_axes(node: ir.Node) -> bool:
    return len(node.inputs) > 3 and node.inputs[3] is not None


def _pads(node: ir.Node, rank: int) -> Array | None:
    """[2, rank]: before and behind each axis; None where they are computed, or attributes as in old opsets."""
    pads = constant_of(node.inputs[1]) if len(node.inputs) > 1 else None
    if pads is None:
        return None
    axes = list(range(rank))
    if _names_axes(node):
        constant = constant_of(node.inputs[3])
        if constant is None:
            return None
        axes = [int(axis) % rank for axis in constant]
    full = np.zeros((2, rank), np.int64)
    full[:, axes] = pads.reshape(2, -1)
    return full
