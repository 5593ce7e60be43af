"""Hard-swish in ops that have a delegated int8 form, for int8 targets alone.

Given: HardSwish(x) = x · relu6(x + 3) / 6. In int8 TFLite's HARD_SWISH is a reference kernel outside the delegate, and takes most of a
model's time.
Result: relu6(x + 3) as an ADD with a fused RELU6, its MUL with x, and a MUL by ⅙ that ``SinkScales`` takes away where it can.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from converters.passes.base import PassResult
from converters.passes.graph import Emitter, replace_value, shape_of, where
from evit_mobile.specs import Precision, Target

if TYPE_CHECKING:
    import onnx_ir as ir


class HardSwish:
    """Spells HardSwish out."""

    name = "hard-swish"
    reason = "an int8 HARD_SWISH leaves the delegate; ADD, RELU6 and MUL do not"

    def __call__(self, model: ir.Model, target: Target) -> PassResult:
        result = PassResult()
        if target.precision is not Precision.INT8:
            return result
        for node in [node for node in model.graph if node.op_type == "HardSwish"]:
            shape = shape_of(node.outputs[0])
            if shape is None:
                result.decline(where(node), "its shape is not static")
                continue
            _spell_out(model.graph, node, shape)
            result.fired += 1
        return result


def _spell_out(graph: ir.Graph, node: ir.Node, shape: tuple[int, ...]) -> None:
    emit = Emitter(graph, node, where(node))
    x = node.inputs[0]
    assert x is not None
    shifted = emit.op("Add", "shifted", [x, emit.constant("three", np.array(3, np.float32))], shape)
    bounds = [emit.constant("low", np.array(0, np.float32)), emit.constant("high", np.array(6, np.float32))]
    gate = emit.op("Clip", "gate", [shifted, *bounds], shape)
    product = emit.op("Mul", "gated", [x, gate], shape)
    replace_value(node.outputs[0], emit.op("Mul", "hard_swish", [product, emit.constant("sixth", np.array(1 / 6, np.float32))], shape))
