"""An Einsum of three operands or more as a chain of Einsum of two.

Given: Einsum(a, b, c, …) with an equation of single letters, each at most once in an operand; the lowering knows two
operands alone. Result: Einsum(Einsum(a, b), c) and so on, from the left. Between two steps the letters stay that a
later operand or the result has; sums over the others are done, which is exact, since no later operand depends on them.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from converters.passes.base import PassResult
from converters.passes.tools.graph import Emitter, replace_value, shape_of, where
from evit_mobile.specs import Target

if TYPE_CHECKING:
    import onnx_ir as ir


class LongEinsum:
    """Splits Einsum of more than two operands."""

    name = "long-einsum"
    reason = "an Einsum of three operands has no lowering, and a chain of Einsum of two has"

    def __call__(self, model: ir.Model, target: Target) -> PassResult:
        result = PassResult()
        for node in [node for node in model.graph if node.op_type == "Einsum" and len(node.inputs) > 2]:
            terms = terms_of(node.attributes.get_string("equation", ""))
            if terms is None or any(shape_of(value) is None for value in node.inputs):
                result.decline(where(node), "its equation has an ellipsis or a diagonal, or a shape is not static")
                continue
            _split(model.graph, node, *terms)
            result.fired += 1
        return result


def terms_of(equation: str) -> tuple[list[str], str] | None:
    """The operands' letters and the result's; None where the equation is of another kind than the module's text
    says.
    """
    left, arrow, output = equation.replace(" ", "").partition("->")
    operands = left.split(",")
    if not all(term.isalpha() and len(set(term)) == len(term) for term in operands):
        return None
    if not arrow:
        output = "".join(sorted(letter for letter, count in Counter(left.replace(",", "")).items() if count == 1))
    return operands, output


def _split(graph: ir.Graph, node: ir.Node, operands: list[str], output: str) -> None:
    emit = Emitter(graph, node, where(node))
    sizes = {
        letter: size for value, term in zip(node.inputs, operands) for letter, size in zip(term, shape_of(value) or ())
    }
    value, term = node.inputs[0], operands[0]
    for place in range(1, len(operands)):
        later = set(output).union(*operands[place + 1 :])
        is_last = place == len(operands) - 1
        kept = (
            output
            if is_last
            else "".join(letter for letter in dict.fromkeys(term + operands[place]) if letter in later)
        )
        shape = [sizes[letter] for letter in kept]
        equation = f"{term},{operands[place]}->{kept}"
        value, term = emit.op("Einsum", "step", [value, node.inputs[place]], shape, equation=equation), kept
    if value is not None:
        replace_value(node.outputs[0], value)
