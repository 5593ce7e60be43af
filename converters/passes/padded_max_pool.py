"""Padding of a max pool: by what cannot be the largest value of a window.

Given: MaxPool of a map [1, C, H, W] with padding, or whose last windows hang over the border (``ceil_mode``). Its
padding is lowered to PADV2 by the lowest number there is, which leaves the delegate.
Result: MaxPool without padding, of the map with its border repeated: a window that holds a repeated row holds the row
itself, too. Where the map is nowhere negative, as behind a ReLU, zeros do, and Pad costs less than slices that are
joined. Rows that no window reaches are left out. A window with holes may hold a repeated row alone: there the border is
the lowest number all the same, by PAD and ADD.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from converters.passes.base import NodePass, Refused, Rewrite
from converters.passes.pool_border import Edges, has_border, padded_by_zeros, window_edges, without_border
from converters.passes.tools.graph import Emitter, replace_value, scalar_of, shape_of
from evit_mobile.specs import Target

if TYPE_CHECKING:
    import onnx_ir as ir

_NOT_NEGATIVE = frozenset({"Relu", "Sigmoid", "HardSigmoid", "Abs", "Softmax", "Exp"})
#: What gives nothing below the least of its operands.
_KEEPING = frozenset(
    {"MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "Reshape", "Transpose", "Identity", "Concat"}
)


class PaddedMaxPool(NodePass):
    """Rewrites MaxPool with padding."""

    name = "padded-max-pool"
    reason = "padding by the lowest number is PADV2, which leaves the delegate; zeros or the border's own values do"
    op_types = frozenset({"MaxPool"})

    def match(self, node: ir.Node, target: Target) -> Rewrite | None:
        if not has_border(node):
            return None
        if len(node.outputs) != 1:
            raise Refused("it gives indices too")
        edges = window_edges(node)
        return lambda emit: replace_value(node.outputs[0], _pool_padded(emit, node, edges))


def _is_not_negative(value: ir.Value | None) -> bool:
    node = None if value is None else value.producer()
    if node is None or node.domain != "":
        return False
    if node.op_type == "Clip":
        low = scalar_of(node.inputs[1]) if len(node.inputs) > 1 else None
        return low is not None and low >= 0
    return (
        node.op_type in _NOT_NEGATIVE
        or node.op_type in _KEEPING
        and all(_is_not_negative(operand) for operand in _maps(node))
    )


def _maps(node: ir.Node) -> list[ir.Value | None]:
    return list(node.inputs) if node.op_type == "Concat" else list(node.inputs[:1])


def _pool_padded(emit: Emitter, node: ir.Node, edges: Edges) -> ir.Value:
    value, pooled = node.inputs[0], shape_of(node.outputs[0])
    assert value is not None and pooled is not None
    top, left, bottom, right = edges
    if _is_not_negative(value):
        spread = padded_by_zeros(emit, value, edges)
    elif set(node.attributes.get_ints("dilations", [1])) != {1}:
        spread = emit.pad("padded", value, [0, 0, top, left, 0, 0, bottom, right], float(np.finfo(np.float32).min))
    else:
        spread = _repeated(emit, _repeated(emit, value, 2, top, bottom), 3, left, right)
    return emit.op("MaxPool", "pooled", [spread], pooled, **without_border(node))


def _repeated(emit: Emitter, value: ir.Value, axis: int, before: int, behind: int) -> ir.Value:
    """``value`` with its first place along ``axis`` repeated ``before`` it, and its last one ``behind`` it."""
    shape = list(shape_of(value) or ())
    if not before and not behind:
        return value
    size = shape[axis]
    parts = [value]
    if before:
        parts = [emit.slice("first", value, axis, 0, 1)] * before + parts
    if behind:
        parts = parts + [emit.slice("last", value, axis, size - 1, size)] * behind
    shape[axis] = size + before + behind
    return emit.op("Concat", "repeated", parts, shape, axis=axis)
