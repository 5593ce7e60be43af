"""Logarithms of exponentials that overflow.

Given: Softplus(x) = log(1 + eˣ), Log(Sigmoid(x)) = -Softplus(-x), or ReduceLogSumExp. The lowering writes exponentials,
which are infinite from 88.7 on, and in half precision from 11.1 on; and TFLite's LOG is not delegated.
Result: Softplus(x) = relu(x) + log(1 + e) with e = e⁻|x|, and log(1 + e) = 2 artanh(z) with z = e / (2 + e) ≤ 1/3, by
its series in z. ReduceLogSumExp is m + log(Σ eˣ⁻ᵐ), m the largest x.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from converters.passes.base import NodePass, Refused, Rewrite
from converters.passes.tools.graph import Emitter, axes_of, replace_value, shape_of
from evit_mobile.specs import Precision, Target

if TYPE_CHECKING:
    import onnx_ir as ir

#: Terms of the series: the first that is left out is 2/15 · 3⁻¹⁵ = 9e-9, and in half precision 2/9 · 3⁻⁹ = 1.1e-5.
_TERMS = {Precision.FP16: 4}
_TERMS_OF_FLOAT = 7


class LogExp(NodePass):
    """Rewrites Softplus, Log of Sigmoid, and ReduceLogSumExp."""

    name = "log-exp"
    reason = "the exponentials of their lowering overflow, and its logarithm is not delegated"
    op_types = frozenset({"Softplus", "Log", "ReduceLogSumExp"})

    def match(self, node: ir.Node, target: Target) -> Rewrite | None:
        x = node.inputs[0]
        if node.op_type == "Log":
            sigmoid = x.producer() if x is not None else None
            if sigmoid is None or sigmoid.op_type != "Sigmoid" or sigmoid.domain != "":
                return None
            x = sigmoid.inputs[0]
        shape = shape_of(x)
        if x is None or shape is None:
            raise Refused("its shape is not static")
        if node.op_type == "ReduceLogSumExp":
            return _log_sum_exp(node, x, shape)
        terms, is_softplus = _TERMS.get(target.precision, _TERMS_OF_FLOAT), node.op_type == "Softplus"

        def rewrite(emit: Emitter) -> None:
            negated = emit.op("Neg", "negated", [x], shape)
            logarithm = _log_of_one_and(
                emit, emit.op("Exp", "power", [emit.op("Min", "below", [x, negated], shape)], shape), terms
            )
            linear = emit.op("Relu", "linear", [x if is_softplus else negated], shape)
            result = emit.op("Add", "softplus", [linear, logarithm], shape)
            replace_value(node.outputs[0], result if is_softplus else emit.op("Neg", "log_sigmoid", [result], shape))

        return rewrite


def _log_of_one_and(emit: Emitter, e: ir.Value, terms: int) -> ir.Value:
    """log(1 + ``e``) for e from 0 to 1."""
    shape = shape_of(e) or ()

    def number(name: str, value: float) -> ir.Value:
        return emit.constant(name, np.array(value, np.float32))

    z = emit.op("Div", "z", [e, emit.op("Add", "power_and_two", [e, number("two", 2)], shape)], shape)
    square = emit.op("Mul", "square", [z, z], shape)
    *others, series = [number("coefficient", 2 / (2 * term + 1)) for term in range(terms)]
    for coefficient in reversed(others):
        product = emit.op("Mul", "times_square", [series, square], shape)
        series = emit.op("Add", "series", [product, coefficient], shape)
    return emit.op("Mul", "logarithm", [z, series], shape)


def _log_sum_exp(node: ir.Node, x: ir.Value, shape: tuple[int, ...]) -> Rewrite:
    axes, result = axes_of(node, len(shape)), shape_of(node.outputs[0])
    if axes is None or result is None:
        raise Refused("its axes are computed")

    def rewrite(emit: Emitter) -> None:
        largest = emit.reduce("ReduceMax", "largest", x, *axes)
        power = emit.op("Exp", "power", [emit.op("Sub", "below", [x, largest], shape)], shape)
        total = emit.reduce("ReduceSum", "total", power, *axes)
        column = shape_of(largest) or ()
        value = emit.op("Add", "sum", [emit.op("Log", "logarithm", [total], column), largest], column)
        replace_value(node.outputs[0], emit.reshape("reduced", value, result))

    return rewrite
