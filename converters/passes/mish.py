"""Mish without its logarithm.

Given: x · tanh(log(1 + eˣ)). TFLite's LOG is not delegated.
Result: x · n / (n + 2) with n = u² + 2u and u = eˣ, which is the same: tanh(log(a)) = (a² - 1) / (a² + 1). Where x is
large the quotient is 1, and u is kept from leaving the precision's range.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from converters.passes.base import NodePass, Refused, Rewrite
from converters.passes.tools.graph import Emitter, replace_value, shape_of, sole_consumer
from evit_mobile.specs import Precision, Target

if TYPE_CHECKING:
    import onnx_ir as ir

#: Above it n / (n + 2) differs from 1 by less than the precision's rounding: e⁻⁴⁰ of 2⁻²⁴, and 9e-5 of 2⁻¹¹, where
#: n = 22,323 of at most 65,504.
_LARGEST = {Precision.FP16: 5.0}
_LARGEST_FLOAT = 20.0


class Mish(NodePass):
    """Rewrites Mul(x, Tanh(Softplus(x))) and the Mish operator."""

    name = "mish"
    reason = "its logarithm is not delegated"
    op_types = frozenset({"Softplus", "Mish"})

    def match(self, node: ir.Node, target: Target) -> Rewrite | None:
        x, product = node.inputs[0], node
        if node.op_type == "Softplus":
            tanh = sole_consumer(node.outputs[0])
            last = sole_consumer(tanh.outputs[0]) if tanh is not None and tanh.op_type == "Tanh" else None
            if last is None or last.op_type != "Mul" or x not in last.inputs:
                return None
            product = last
        shape = shape_of(x)
        if x is None or shape is None:
            raise Refused("its shape is not static")
        largest = _LARGEST.get(target.precision, _LARGEST_FLOAT)

        def rewrite(emit: Emitter) -> None:
            bound, two = (emit.constant(name, np.array(n, np.float32)) for name, n in (("bound", largest), ("two", 2)))
            power = emit.op("Exp", "power", [emit.op("Min", "bounded", [x, bound], shape)], shape)
            n = emit.op("Mul", "n", [power, emit.op("Add", "power_and_two", [power, two], shape)], shape)
            quotient = emit.op("Div", "quotient", [n, emit.op("Add", "n_and_two", [n, two], shape)], shape)
            replace_value(product.outputs[0], emit.op("Mul", "mish", [x, quotient], shape))

        return rewrite
