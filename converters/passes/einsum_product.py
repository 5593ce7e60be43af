"""An Einsum of two operands as a MatMul between Transpose and Reshape, or as a Mul where it sums over nothing; one of
one operand as sums and a Transpose.

Given: Einsum(a, b) with an equation of single letters. Result, with B the letters of both operands and of the result, K
those of both that are summed, M and N those of one operand: MatMul(a [B, M, K], b [B, K, N]) in the order of the
result. A letter of one operand alone that is not in the result is summed first. Without K it is a product of elements;
a reciprocal among the operands then divides, as it does where attention is written by operators. The passes after this
one know MatMul alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from converters.passes.base import NodePass, Refused, Rewrite
from converters.passes.long_einsum import terms_of
from converters.passes.tools.graph import Emitter, inverted, replace_value, shape_of
from evit_mobile.specs import Target

if TYPE_CHECKING:
    import onnx_ir as ir


class EinsumProduct(NodePass):
    """Writes Einsum of one or two operands as MatMul, Mul, or sums."""

    name = "einsum-product"
    reason = "a matrix product written as Einsum is one, and the passes and XNNPACK know it as MatMul"
    op_types = frozenset({"Einsum"})

    def match(self, node: ir.Node, target: Target) -> Rewrite | None:
        if len(node.inputs) > 2:
            return None
        terms = terms_of(node.attributes.get_string("equation", ""))
        if terms is None or any(shape_of(value) is None for value in node.inputs):
            raise Refused("its equation has an ellipsis or a diagonal, or a shape is not static")
        if node.outputs[0].dtype is None or node.outputs[0].dtype.name != "FLOAT":
            raise Refused("it is not of float32")
        operands, output = terms
        if len(operands) == 1:
            return lambda emit: replace_value(
                node.outputs[0], _summed(emit, node.inputs[0], operands[0], set(output)).ordered(emit, output)
            )
        left, right = operands

        def rewrite(emit: Emitter) -> None:
            first, second = (
                _summed(emit, value, term, set(other) | set(output))
                for value, term, other in zip(node.inputs, (left, right), (right, left))
            )
            replace_value(node.outputs[0], _product(emit, first, second, output))

        return rewrite


class _Operand:
    """A value with a letter for each of its axes."""

    def __init__(self, value: ir.Value, letters: str) -> None:
        self.value, self.letters = value, letters
        self.sizes = dict(zip(letters, shape_of(value) or ()))

    def ordered(self, emit: Emitter, letters: Sequence[str]) -> ir.Value:
        """The value with its axes in the order of ``letters``."""
        order = [self.letters.index(letter) for letter in letters]
        return self.value if order == sorted(order) else emit.transpose("order", self.value, order)


def _summed(emit: Emitter, value: ir.Value | None, term: str, kept: set[str]) -> _Operand:
    """An operand without the letters that it alone has."""
    assert value is not None
    for axis, letter in enumerate(term):
        if letter not in kept:
            value = emit.reduce("ReduceSum", "sum", value, axis)
    letters = [letter for letter in term if letter in kept]
    sizes = dict(zip(term, shape_of(value) or ()))
    return _Operand(emit.reshape("summed", value, [sizes[letter] for letter in letters]), "".join(letters))


def _product(emit: Emitter, left: _Operand, right: _Operand, output: str) -> ir.Value:
    sizes = left.sizes | right.sizes
    shared = [letter for letter in left.letters if letter in right.letters]
    batch = [letter for letter in output if letter in shared]
    summed = [letter for letter in shared if letter not in output]
    rows, columns = ([letter for letter in side.letters if letter not in shared] for side in (left, right))
    if not summed:
        return _elementwise(emit, left, right, output)

    def size_of(letters: Sequence[str]) -> int:
        return math.prod(sizes[letter] for letter in letters)

    outer = [sizes[letter] for letter in batch]
    a = emit.reshape("left", left.ordered(emit, batch + rows + summed), [*outer, size_of(rows), size_of(summed)])
    second = right.ordered(emit, batch + summed + columns)
    b = emit.reshape("right", second, [*outer, size_of(summed), size_of(columns)])
    product = emit.op("MatMul", "product", [a, b], [*outer, size_of(rows), size_of(columns)])
    letters = batch + rows + columns
    result = _Operand(emit.reshape("product_shape", product, [sizes[letter] for letter in letters]), "".join(letters))
    return result.ordered(emit, output)


def _elementwise(emit: Emitter, left: _Operand, right: _Operand, output: str) -> ir.Value:
    """left · right with an axis of size 1 for each letter of the result that one has not."""
    sizes = left.sizes | right.sizes
    shape = [sizes[letter] for letter in output]
    aligned = []
    for side in (left, right):
        value, divides = side.value, False
        if (inverse := inverted(value)) is not None:
            value, divides = inverse, True
        own = [letter for letter in output if letter in side.letters]
        spread = [sizes[letter] if letter in side.letters else 1 for letter in output]
        ordered = _Operand(value, side.letters).ordered(emit, own)
        aligned.append((emit.reshape("aligned", ordered, spread), divides))
    (first, first_divides), (second, second_divides) = aligned
    if second_divides and not first_divides:
        return emit.op("Div", "quotient", [first, second], shape)
    if first_divides and not second_divides:
        return emit.op("Div", "quotient", [second, first], shape)
    product = emit.op("Mul", "product", [first, second], shape)
    return emit.op("Reciprocal", "inverse", [product], shape) if first_divides else product
