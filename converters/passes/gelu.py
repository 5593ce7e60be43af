"""GELU in the order of its factors that the lowering recognises, and its approximation written out.

Given: the product, in any order, of x, ½ and 1 + erf(x/√2), the last with a quotient or a product. The lowering makes
one GELU of (x · (1 + erf(x ÷ √2))) · ½ alone, and of every other erf a polynomial with a SIGN, which is not delegated.
Result: that order. Or given: Gelu that approximates by tanh, where XNNPACK computes the exact one. Result: x · ½ · (1 +
tanh(√(2/π) · x · (1 + 0.044715 · x²))).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from converters.passes.base import NodePass, Refused, Rewrite
from converters.passes.tools.graph import Emitter, replace_value, scalar_of, shape_of, sole_consumer
from evit_mobile.specs import Target

if TYPE_CHECKING:
    import onnx_ir as ir

#: Of a float32 constant: a few roundings.
_TOLERANCE = 1e-6
#: ½ and x beside the bracket: at most so many products.
_PRODUCTS = 2


class Gelu(NodePass):
    """Rewrites x · ½ · (1 + erf(x/√2)), whatever its order, and Gelu's approximation."""

    name = "gelu"
    reason = "the lowering knows one order of GELU's factors; of the others it makes a polynomial that is not delegated"
    op_types = frozenset({"Erf", "Gelu"})

    def match(self, node: ir.Node, target: Target) -> Rewrite | None:
        if node.op_type == "Gelu":
            return _approximation(node)
        argument = node.inputs[0]
        x = _scaled(argument, math.sqrt(0.5))
        if argument is None or x is None:
            return None
        bracket = sole_consumer(node.outputs[0])
        if bracket is None or bracket.op_type != "Add" or not _is_near(_other(bracket, node.outputs[0]), 1.0):
            return None
        value = bracket.outputs[0]
        factors: list[ir.Value] = []
        for _ in range(_PRODUCTS):
            product = sole_consumer(value)
            if product is None or product.op_type != "Mul":
                break
            factor = _other(product, value)
            if factor is None:
                break
            factors.append(factor)
            value = product.outputs[0]
        if not _is_half_of(factors, x):
            return None
        shape = shape_of(x)
        if shape is None:
            raise Refused("its shape is not static")
        divider = argument.producer()
        if len(factors) == 2 and factors[0] is x and divider is not None and divider.op_type == "Div":
            return None  # it is in that order

        def rewrite(emit: Emitter) -> None:
            root = emit.constant("root_of_two", np.array(math.sqrt(2), np.float32))
            one, half = (emit.constant(name, np.array(n, np.float32)) for name, n in (("one", 1), ("half", 0.5)))
            erf = emit.op("Erf", "erf", [emit.op("Div", "scaled", [x, root], shape)], shape)
            product = emit.op("Mul", "product", [x, emit.op("Add", "bracket", [erf, one], shape)], shape)
            replace_value(value, emit.op("Mul", "gelu", [product, half], shape))

        return rewrite


def _approximation(node: ir.Node) -> Rewrite | None:
    x, shape = node.inputs[0], shape_of(node.inputs[0])
    if x is None or node.attributes.get_string("approximate", "none") != "tanh":
        return None
    if shape is None:
        raise Refused("its shape is not static")

    def rewrite(emit: Emitter) -> None:
        numbers = {"one": 1, "half": 0.5, "cubic": 0.044715, "scale": math.sqrt(2 / math.pi)}
        one, half, cubic, scale = (emit.constant(name, np.array(n, np.float32)) for name, n in numbers.items())
        share = emit.op("Mul", "share", [emit.op("Mul", "square", [x, x], shape), cubic], shape)
        bent = emit.op("Mul", "bent", [x, emit.op("Add", "share_and_one", [share, one], shape)], shape)
        tanh = emit.op("Tanh", "tanh", [emit.op("Mul", "scaled", [bent, scale], shape)], shape)
        product = emit.op("Mul", "product", [x, emit.op("Add", "bracket", [tanh, one], shape)], shape)
        replace_value(node.outputs[0], emit.op("Mul", "gelu", [product, half], shape))

    return rewrite


def _scaled(value: ir.Value | None, factor: float) -> ir.Value | None:
    """x, where ``value`` is x times ``factor``, as a product or a quotient."""
    node = value.producer() if value is not None else None
    if node is None or node.op_type not in ("Div", "Mul"):
        return None
    if node.op_type == "Div":
        return node.inputs[0] if _is_near(node.inputs[1], 1 / factor) else None
    return next((x for x, number in (node.inputs, node.inputs[::-1]) if _is_near(number, factor)), None)


def _is_half_of(factors: list[ir.Value], x: ir.Value) -> bool:
    """Whether the product of ``factors`` is x/2, as two factors or as one that is scaled."""
    if len(factors) == 2:
        return any(first is x and _is_near(second, 0.5) for first, second in (factors, factors[::-1]))
    return len(factors) == 1 and _scaled(factors[0], 0.5) is x


def _other(node: ir.Node, value: ir.Value) -> ir.Value | None:
    return node.inputs[1] if node.inputs[0] is value else node.inputs[0]


def _is_near(value: ir.Value | None, number: float) -> bool:
    scalar = scalar_of(value)
    return scalar is not None and abs(scalar - number) <= _TOLERANCE * number
