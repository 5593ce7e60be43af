"""Vectors of norm 1, written out.

Given: LpNormalization of p 1 or 2 along an axis of static shape; the lowering has no form of it.
Result: x / max(ReduceL1(x), t) or x / max(ReduceL2(x), t). t, the smallest number of the precision, lets zeros stay
zeros, as ONNX Runtime has them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from converters.passes.base import NodePass, Refused, Rewrite
from converters.passes.tools.graph import Emitter, replace_value, shape_of
from evit_mobile.specs import Precision, Target

if TYPE_CHECKING:
    import onnx_ir as ir

#: The smallest numbers that are not rounded more coarsely than others.
_SMALLEST = {Precision.FP16: float(np.finfo(np.float16).tiny)}
_SMALLEST_FLOAT = float(np.finfo(np.float32).tiny)
_NORMS = {1: "ReduceL1", 2: "ReduceL2"}


class LpNormalization(NodePass):
    """Rewrites LpNormalization."""

    name = "lp-normalization"
    reason = "the lowering has no form of it, and has one of its parts"
    op_types = frozenset({"LpNormalization"})

    def match(self, node: ir.Node, target: Target) -> Rewrite | None:
        x, shape, norm = node.inputs[0], shape_of(node.inputs[0]), _NORMS.get(node.attributes.get_int("p", 2))
        if x is None or shape is None or norm is None:
            raise Refused("its shape is not static, or its norm another")
        axis = node.attributes.get_int("axis", -1) % len(shape)

        def rewrite(emit: Emitter) -> None:
            kept = [1 if place == axis else size for place, size in enumerate(shape)]
            smallest = emit.constant("smallest", np.array(_SMALLEST.get(target.precision, _SMALLEST_FLOAT), np.float32))
            length = emit.op("Max", "not_zero", [emit.reduce(norm, "length", x, axis), smallest], kept)
            replace_value(node.outputs[0], emit.op("Div", "normalised", [x, length], shape))

        return rewrite
