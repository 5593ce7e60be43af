"""Padding of a max pool by zeros, where zeros are as good as minus infinity.

Given: MaxPool with padding of a map [1, C, H, W] that is nowhere negative, as behind a ReLU. Its padding is lowered to PADV2 by the lowest
number there is, which leaves the delegate.
Result: Pad by zeros and MaxPool without padding: each window holds at least one place of the map, which zero does not exceed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from converters.passes.base import PassResult
from converters.passes.tools.graph import Emitter, replace_value, scalar_of, shape_of, where
from evit_mobile.specs import Target

if TYPE_CHECKING:
    import onnx_ir as ir

_NOT_NEGATIVE = frozenset({"Relu", "Sigmoid", "HardSigmoid", "Abs", "Softmax", "Exp"})
#: What gives nothing below the least of its operands.
_KEEPING = frozenset(
    {"MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "Reshape", "Transpose", "Identity", "Concat"}
)


class PaddedMaxPool:
    """Rewrites MaxPool with padding behind what is never negative."""

    name = "padded-max-pool"
    reason = "padding by the lowest number is PADV2, which leaves the delegate; behind a ReLU zeros do"

    def __call__(self, model: ir.Model, target: Target) -> PassResult:
        result = PassResult()
        for node in [
            node for node in model.graph if node.op_type == "MaxPool" and any(node.attributes.get_ints("pads", [0]))
        ]:
            refusal = _refusal(node)
            if refusal is None:
                _rewrite(model.graph, node)
                result.fired += 1
            else:
                result.decline(where(node), refusal)
        return result


def _refusal(node: ir.Node) -> str | None:
    if not _is_not_negative(node.inputs[0]):
        return "its operand may be negative"
    if node.attributes.get_int("ceil_mode", 0) or len(node.outputs) != 1:
        return "its last windows may hang over the border, or it gives places too"
    shapes = shape_of(node.inputs[0]), shape_of(node.outputs[0])
    return "it is no static [1, C, H, W]" if None in shapes or len(shapes[0] or ()) != 4 else None


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


def _rewrite(graph: ir.Graph, node: ir.Node) -> None:
    shape, result = shape_of(node.inputs[0]), shape_of(node.outputs[0])
    assert shape is not None and result is not None
    top, left, bottom, right = node.attributes.get_ints("pads", [])
    emit = Emitter(graph, node, where(node))
    padded = (*shape[:2], shape[2] + top + bottom, shape[3] + left + right)
    pads = emit.ints("pads", [0, 0, top, left, 0, 0, bottom, right])
    spread = emit.op("Pad", "padded", [node.inputs[0], pads], padded, mode="constant")
    attributes = {name: attribute for name, attribute in node.attributes.items() if name not in ("pads", "auto_pad")}
    replace_value(node.outputs[0], emit.op("MaxPool", "pooled", [spread], result, **attributes))
