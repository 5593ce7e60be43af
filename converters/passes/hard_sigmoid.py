"""Clamps to [0, 1] as the clamp to [0, 6] that delegates know.

Given: HardSigmoid(x) = clip(α x + β, 0, 1), or Clip(x, 0, 1). Both become RELU_0_TO_1, which XNNPACK does not take.
Result: relu6(6 α x + 6 β) · ⅙, for the usual α = ⅙, β = ½ relu6(x + 3) · ⅙: an ADD with a fused RELU6 and a MUL.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from converters.passes.base import PassResult
from converters.passes.tools.graph import Emitter, replace_value, scalar_of, shape_of, where
from evit_mobile.specs import Target

if TYPE_CHECKING:
    import onnx_ir as ir


class HardSigmoid:
    """Rewrites HardSigmoid and Clip to [0, 1]."""

    name = "hard-sigmoid"
    reason = "RELU_0_TO_1 leaves the delegate, RELU6 does not"

    def __call__(self, model: ir.Model, target: Target) -> PassResult:
        result = PassResult()
        for node in list(model.graph):
            line = _line(node)
            if line is None:
                continue
            shape = shape_of(node.outputs[0])
            if shape is None:
                result.decline(where(node), "its shape is not static")
                continue
            _rewrite(model.graph, node, shape, *line)
            result.fired += 1
        return result


def _line(node: ir.Node) -> tuple[float, float] | None:
    """(α, β) where ``node`` clamps α x + β to [0, 1]."""
    if node.op_type == "HardSigmoid":
        return node.attributes.get_float("alpha", 0.2), node.attributes.get_float("beta", 0.5)
    if (
        node.op_type == "Clip"
        and len(node.inputs) == 3
        and scalar_of(node.inputs[1]) == 0.0
        and scalar_of(node.inputs[2]) == 1.0
    ):
        return 1.0, 0.0
    return None


def _rewrite(graph: ir.Graph, node: ir.Node, shape: tuple[int, ...], alpha: float, beta: float) -> None:
    emit = Emitter(graph, node, where(node))
    value = node.inputs[0]
    assert value is not None
    # 1/6 comes as float32 and is 6e-8 off: the factor 1 is meant.
    slope = 1.0 if np.isclose(6 * alpha, 1.0, rtol=1e-6) else 6 * alpha
    if slope != 1.0:
        value = emit.op("Mul", "scaled", [value, emit.constant("slope", np.array(slope, np.float32))], shape)
    if beta != 0.0:
        value = emit.op("Add", "shifted", [value, emit.constant("offset", np.array(6 * beta, np.float32))], shape)
    bounds = [emit.constant("low", np.array(0, np.float32)), emit.constant("high", np.array(6, np.float32))]
    value = emit.op("Clip", "clamped", [value, *bounds], shape)
    sixth = emit.constant("sixth", np.array(1 / 6, np.float32))
    replace_value(node.outputs[0], emit.op("Mul", "hard_sigmoid", [value, sixth], shape))
