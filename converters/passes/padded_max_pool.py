"""Padding of a max pool by zeros, where zeros are as good as minus infinity.

Given: MaxPool with padding of a map [1, C, H, W] that is nowhere negative, as behind a ReLU. Its padding is lowered to
PADV2 by the lowest number there is, which leaves the delegate.
Result: Pad by zeros and MaxPool without padding: each window holds at least one place of the map, which zero does not
exceed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from converters.passes.base import NodePass, Refused, Rewrite
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
    """Rewrites MaxPool with padding behind what is never negative."""

    name = "padded-max-pool"
    reason = "padding by the lowest number is PADV2, which leaves the delegate; behind a ReLU zeros do"
    op_types = frozenset({"MaxPool"})

    def match(self, node: ir.Node, target: Target) -> Rewrite | None:
        pads = node.attributes.get_ints("pads", [0])
        if not any(pads):
            return None
        if not _is_not_negative(node.inputs[0]):
            raise Refused("its operand may be negative")
        if node.attributes.get_int("ceil_mode", 0) or len(node.outputs) != 1:
            raise Refused("its last windows may hang over the border, or it gives indices too")
        shape, pooled = shape_of(node.inputs[0]), shape_of(node.outputs[0])
        if shape is None or pooled is None or len(shape) != 4:
            raise Refused("it is not a static [1, C, H, W]")
        return lambda emit: replace_value(node.outputs[0], _pool_padded(emit, node, shape, pooled))


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
        and all(_is_not_negative(each) for each in _maps(node))
    )


def _maps(node: ir.Node) -> list[ir.Value | None]:
    return list(node.inputs) if node.op_type == "Concat" else list(node.inputs[:1])


def _pool_padded(emit: Emitter, node: ir.Node, shape: tuple[int, ...], pooled: tuple[int, ...]) -> ir.Value:
    top, left, bottom, right = node.attributes.get_ints("pads", [])
    padded = (*shape[:2], shape[2] + top + bottom, shape[3] + left + right)
    pads = emit.ints("pads", [0, 0, top, left, 0, 0, bottom, right])
    spread = emit.op("Pad", "padded", [node.inputs[0], pads], padded, mode="constant")
    attributes = {name: attribute for name, attribute in node.attributes.items() if name not in ("pads", "auto_pad")}
    return emit.op("MaxPool", "pooled", [spread], pooled, **attributes)
