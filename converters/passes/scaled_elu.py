"""Elu of another α than 1.

Given: Elu(x) = x for x > 0, α (eˣ - 1) elsewhere. TFLite's ELU has α = 1 alone, and the lowering takes it for any.
Result: relu(x) + α · Elu₁(-relu(-x)).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from converters.passes.base import NodePass, Refused, Rewrite
from converters.passes.tools.graph import Emitter, replace_value, shape_of
from evit_mobile.specs import Target

if TYPE_CHECKING:
    import onnx_ir as ir


class ScaledElu(NodePass):
    """Rewrites Elu whose α is not 1."""

    name = "scaled-elu"
    reason = "TFLite's ELU has α = 1 alone"
    op_types = frozenset({"Elu"})

    def match(self, node: ir.Node, target: Target) -> Rewrite | None:
        alpha, source, shape = node.attributes.get_float("alpha", 1.0), node.inputs[0], shape_of(node.inputs[0])
        if alpha == 1.0 or source is None:
            return None
        if shape is None:
            raise Refused("its shape is not static")

        def rewrite(emit: Emitter) -> None:
            opposite = emit.op("Relu", "opposite", [emit.op("Neg", "negated", [source], shape)], shape)
            below = emit.op("Elu", "below", [emit.op("Neg", "at_most_zero", [opposite], shape)], shape)
            scaled = emit.op("Mul", "scaled", [below, emit.constant("alpha", np.array(alpha, np.float32))], shape)
            above = emit.op("Relu", "above", [source], shape)
            replace_value(node.outputs[0], emit.op("Add", "elu", [above, scaled], shape))

        return rewrite
