"""GroupNormalization as the instance normalisation of its groups.

Given: GroupNormalization of [N, C, …] in G groups, scale and bias one per channel (since opset 21) or one per group
(opset 18). It is lowered to a composite that only XNNPACK computes rightly.
Result: x̂ = InstanceNormalization of [N, G, C/G · …], then scale and bias of each channel: the form in which PyTorch's
exporter writes it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from converters.passes.base import NodePass, Refused, Rewrite
from converters.passes.tools.graph import Emitter, constant_of, replace_value, shape_of
from evit_mobile.specs import Target

if TYPE_CHECKING:
    import onnx_ir as ir


class GroupNorm(NodePass):
    """Rewrites GroupNormalization."""

    name = "group-norm"
    reason = "GroupNormalization is lowered to a composite that TFLite's own kernels compute wrongly"
    op_types = frozenset({"GroupNormalization"})

    def match(self, node: ir.Node, target: Target) -> Rewrite | None:
        source, shape = node.inputs[0], shape_of(node.inputs[0])
        scale, bias = (constant_of(value) for value in node.inputs[1:3])
        groups = node.attributes.get_int("num_groups", 1)
        if source is None or shape is None or len(shape) < 3 or scale is None or bias is None or shape[1] % groups:
            raise Refused("its shape is not static, or scale and bias are computed")
        epsilon = node.attributes.get_float("epsilon", 1e-5)
        per_channel = [np.repeat(value, shape[1] // value.size) for value in (scale, bias)]
        channels = (1, shape[1], *[1] * (len(shape) - 2))

        def rewrite(emit: Emitter) -> None:
            grouped = (shape[0], groups, math.prod(shape[1:]) // groups)
            flat = emit.reshape("groups", source, grouped)
            unit = [
                emit.constant("ones", np.ones(groups, np.float32)),
                emit.constant("zeros", np.zeros(groups, np.float32)),
            ]
            normalised = emit.op("InstanceNormalization", "normalised", [flat, *unit], grouped, epsilon=epsilon)
            value = emit.reshape("channels", normalised, shape)
            value = emit.op("Mul", "scaled", [value, emit.constant("scale", per_channel[0].reshape(channels))], shape)
            value = emit.op("Add", "shifted", [value, emit.constant("shift", per_channel[1].reshape(channels))], shape)
            replace_value(node.outputs[0], value)

        return rewrite
