"""Clamps to [0, 1] as the clamp to [0, 6] that delegates know.

Given: HardSigmoid(x) = clip(α x + β, 0, 1), or Clip(x, 0, 1). Both become RELU_0_TO_1, which XNNPACK does not take.
Result: relu6(6 α x + 6 β) · ⅙, for the usual α = ⅙, β = ½ relu6(x + 3) · ⅙: an ADD with a fused RELU6 and a MUL.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from converters.passes.base import NodePass, Refused, Rewrite
from converters.passes.tools.graph import Emitter, replace_value, scalar_of, shape_of
from evit_mobile.specs import Target

if TYPE_CHECKING:
    import onnx_ir as ir


class HardSigmoid(NodePass):
    """Rewrites HardSigmoid and Clip to [0, 1]."""

    name = "hard-sigmoid"
    reason = "RELU_0_TO_1 leaves the delegate, RELU6 does not"
    op_types = frozenset({"HardSigmoid", "Clip"})

    def match(self, node: ir.Node, target: Target) -> Rewrite | None:
        line, source = _line(node), node.inputs[0]
        if line is None or source is None:
            return None
        shape = shape_of(node.outputs[0])
        if shape is None:
            raise Refused("its shape is not static")
        return lambda emit: replace_value(node.outputs[0], _clamped(emit, source, shape, *line))


def _line(node: ir.Node) -> tuple[float, float] | None:
    """(α, β) where ``node`` clamps α x + β to [0, 1]."""
    if node.op_type == "HardSigmoid":
        return node.attributes.get_float("alpha", 0.2), node.attributes.get_float("beta", 0.5)
    bounds = [scalar_of(bound) for bound in node.inputs[1:]]
    return (1.0, 0.0) if bounds == [0.0, 1.0] else None


def _clamped(emit: Emitter, value: ir.Value, shape: tuple[int, ...], alpha: float, beta: float) -> ir.Value:
    # 1/6 is stored as float32 and is 6e-8 off: the factor 1 is meant.
    slope = 1.0 if np.isclose(6 * alpha, 1.0, rtol=1e-6) else 6 * alpha
    if slope != 1.0:
        value = emit.op("Mul", "scaled", [value, emit.constant("slope", np.array(slope, np.float32))], shape)
    if beta != 0.0:
        value = emit.op("Add", "shifted", [value, emit.constant("offset", np.array(6 * beta, np.float32))], shape)
    bounds = [emit.constant("low", np.array(0, np.float32)), emit.constant("high", np.array(6, np.float32))]
    value = emit.op("Clip", "clamped", [value, *bounds], shape)
    sixth = emit.constant("sixth", np.array(1 / 6, np.float32))
    return emit.op("Mul", "hard_sigmoid", [value, sixth], shape)
