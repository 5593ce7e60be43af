"""BatchNormalization that no convolution before it has taken up.

Given: BatchNormalization of [1, C, H, W] with constant statistics, behind a Concat, a sum or a pool. It is lowered to
MUL and ADD in PyTorch's layout, between two TRANSPOSEs.
Result: a depthwise convolution 1x1 with a bias: one op that keeps the layout, and that XNNPACK runs as one
multiply-add per value (its VMulCAddC kernel). A ReLU behind it is fused, as behind any convolution.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from converters.passes.base import NodePass, Refused, Rewrite
from converters.passes.tools.graph import constant_of, replace_value, shape_of, sole_consumer
from evit_mobile.specs import Target

if TYPE_CHECKING:
    import onnx_ir as ir


class BatchNorm(NodePass):
    """Rewrites BatchNormalization with constant statistics, but those behind a convolution, which takes them up."""

    name = "batch-norm"
    reason = "a normalisation that no convolution takes up is lowered between two TRANSPOSEs"
    op_types = frozenset({"BatchNormalization"})

    def match(self, node: ir.Node, target: Target) -> Rewrite | None:
        value, output = node.inputs[0], node.outputs[0]
        shape = shape_of(value)
        if value is None or shape is None or len(shape) != 4:
            return None
        producer = value.producer()
        if producer is not None and producer.op_type == "Conv" and sole_consumer(value) is node:
            return None  # the lowering puts it into the convolution's weights
        statistics = [constant_of(operand) for operand in node.inputs[1:5]]
        if node.attributes.get_int("training_mode", 0) or any(array is None for array in statistics):
            raise Refused("its statistics are computed")
        scale, bias, mean, variance = (np.asarray(array, np.float64) for array in statistics)
        factor = scale / np.sqrt(variance + node.attributes.get_float("epsilon", 1e-5))
        weight, shift = factor.astype(np.float32).reshape(-1, 1, 1, 1), (bias - mean * factor).astype(np.float32)
        return lambda emit: replace_value(
            output,
            emit.op(
                "Conv",
                "normalised",
                [value, emit.constant("factor", weight), emit.constant("shift", shift)],
                shape,
                group=shape[1],
                kernel_shape=[1, 1],
            ),
        )
