"""Convolutions along one axis, in groups.

Given: Conv of [N, C, L] in groups, which the lowering has no form of. A plain one it lowers itself.
Result: the same Conv on [N, C, 1, L].
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from converters.passes.base import NodePass, Refused, Rewrite
from converters.passes.tools.graph import Emitter, constant_of, replace_value, shape_of
from evit_mobile.specs import Target

if TYPE_CHECKING:
    import onnx_ir as ir


class Convolution1d(NodePass):
    """Rewrites grouped Conv of one axis."""

    name = "convolution-1d"
    reason = "the lowering has no grouped convolution along one axis"
    op_types = frozenset({"Conv"})

    def match(self, node: ir.Node, target: Target) -> Rewrite | None:
        before, after = shape_of(node.inputs[0]), shape_of(node.outputs[0])
        if node.attributes.get_int("group", 1) == 1 or after is None or len(after) != 3:
            return None
        weights, source = constant_of(node.inputs[1]), node.inputs[0]
        if before is None or source is None:
            raise Refused("its shape is not static")
        if weights is None:
            raise Refused("its weights are computed")
        pads = list(node.attributes.get_ints("pads", [0, 0]))
        attributes = {
            "group": node.attributes.get_int("group", 1),
            "strides": [1, *node.attributes.get_ints("strides", [1])],
            "dilations": [1, *node.attributes.get_ints("dilations", [1])],
            "pads": [0, pads[0], 0, pads[1]],
        }
        automatic = node.attributes.get_string("auto_pad", "NOTSET")
        if automatic != "NOTSET":
            attributes["auto_pad"] = automatic
            del attributes["pads"]

        def rewrite(emit: Emitter) -> None:
            plane = emit.reshape("plane", source, [*before[:2], 1, before[2]])
            operands = [plane, emit.constant("weights", weights[:, :, None, :]), *node.inputs[2:]]
            convolved = emit.op("Conv", "convolution", operands, [*after[:2], 1, after[2]], **attributes)
            replace_value(node.outputs[0], emit.reshape("line", convolved, after))

        return rewrite
