"""Pads that a convolution or a pool computes itself, written out where more of them are in front.

Given: ``auto_pad`` SAME_LOWER, whose odd place is in front. TFLite's SAME has it behind, as SAME_UPPER has.
Result: the same op with its pads as numbers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from converters.passes.base import NodePass, Refused, Rewrite
from converters.passes.tools.graph import Emitter, shape_of
from evit_mobile.specs import Target

if TYPE_CHECKING:
    import onnx_ir as ir


class SameLower(NodePass):
    """Writes out the pads of Conv, MaxPool and AveragePool."""

    name = "same-lower"
    reason = "TFLite's own padding has its odd place behind, never in front"
    op_types = frozenset({"Conv", "MaxPool", "AveragePool"})

    def match(self, node: ir.Node, target: Target) -> Rewrite | None:
        if node.attributes.get_string("auto_pad", "NOTSET") != "SAME_LOWER":
            return None
        shape = shape_of(node.inputs[0])
        kernel = (
            (shape_of(node.inputs[1]) or ())[2:]
            if node.op_type == "Conv"
            else node.attributes["kernel_shape"].as_ints()
        )
        if shape is None or len(kernel) != len(shape) - 2:
            raise Refused("its shape is not static")
        strides, dilations = (
            list(node.attributes.get_ints(key, [1] * len(kernel))) for key in ("strides", "dilations")
        )
        front, behind = [], []
        for size, length, stride, dilation in zip(shape[2:], kernel, strides, dilations):
            # Operator specification of Conv: as many places come out as strides fit into the size, rounded up.
            missing = max(0, (-(-size // stride) - 1) * stride + dilation * (length - 1) + 1 - size)
            behind.append(missing // 2)
            front.append(missing - missing // 2)

        def rewrite(emit: Emitter) -> None:
            import onnx_ir as ir

            node.attributes.pop("auto_pad")
            node.attributes["pads"] = ir.AttrInt64s("pads", [*front, *behind])

        return rewrite
