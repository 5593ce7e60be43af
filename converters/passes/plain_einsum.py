"""An Einsum in letters, each of them once in an operand.

Given: Einsum with an ellipsis, or with a letter that an operand has twice: its diagonal. The passes behind this one
know neither.
Result: letters in the ellipsis' place; of two axes of n places that share a letter, the places 0, n + 1, 2 (n + 1), …
of both as one axis of n².
"""

from __future__ import annotations

from string import ascii_letters
from typing import TYPE_CHECKING

from converters.passes.base import NodePass, Refused, Rewrite
from converters.passes.tools.graph import Emitter, replace_value, shape_of
from evit_mobile.specs import Target

if TYPE_CHECKING:
    import onnx_ir as ir

_ELLIPSIS = "..."


class PlainEinsum(NodePass):
    """Rewrites Einsum with an ellipsis or a diagonal."""

    name = "plain-einsum"
    reason = "an Einsum with an ellipsis or a diagonal has no lowering"
    op_types = frozenset({"Einsum"})

    def match(self, node: ir.Node, target: Target) -> Rewrite | None:
        equation = node.attributes.get_string("equation", "").replace(" ", "")
        left, arrow, output = equation.partition("->")
        terms = left.split(",")
        doubled = [term for term in terms if any(term.count(letter) > 1 for letter in term if letter.isalpha())]
        if _ELLIPSIS not in equation and not doubled:
            return None
        values = [value for value in node.inputs if value is not None]
        shapes = [shape for value in values if (shape := shape_of(value)) is not None]
        after = shape_of(node.outputs[0])
        if not arrow or len(shapes) != len(terms) or after is None:
            raise Refused("its result is implied, or a shape is not static")
        terms, output = _spelled(terms, output, shapes)

        def rewrite(emit: Emitter) -> None:
            diagonals = [_diagonal(emit, value, term) for value, term in zip(values, terms)]
            operands = [value for value, _ in diagonals]
            plain = f"{','.join(term for _, term in diagonals)}->{output}"
            replace_value(node.outputs[0], emit.op("Einsum", "plain", operands, after, equation=plain))

        return rewrite


def _spelled(terms: list[str], output: str, shapes: list[tuple[int, ...]]) -> tuple[list[str], str]:
    """The operands' letters and the result's, with letters in the place of each ellipsis."""
    free = [letter for letter in ascii_letters if not any(letter in term for term in [*terms, output])]
    spelled: list[str] = []
    sizes: dict[str, int] = {}
    widest = 0
    for term, shape in zip(terms, shapes):
        count = len(shape) - len(term.replace(_ELLIPSIS, "")) if _ELLIPSIS in term else 0
        if count > len(free):
            raise Refused("it has no letters left")
        letters = "".join(free[:count][::-1])  # the last axis of each ellipsis is the same one
        spelled.append(term.replace(_ELLIPSIS, letters))
        widest = max(widest, count)
        for letter, size in zip(spelled[-1], shape):
            if sizes.setdefault(letter, size) != size:
                raise Refused("an axis of one place stands for several")
    return spelled, output.replace(_ELLIPSIS, "".join(free[:widest][::-1]))


def _diagonal(emit: Emitter, value: ir.Value, term: str) -> tuple[ir.Value, str]:
    """The operand with each of its letters once, and these letters."""
    while doubled := [letter for letter in term if term.count(letter) > 1]:
        letter, shape = doubled[0], shape_of(value) or ()
        first = term.index(letter)
        second = term.index(letter, first + 1)
        others = [axis for axis in range(len(term)) if axis not in (first, second)]
        kept, size = [shape[axis] for axis in others], shape[first]
        moved = emit.transpose("pair_last", value, [*others, first, second])
        flat = emit.reshape("pair", moved, [*kept, size * size])
        bounds = [emit.ints("starts", [0]), emit.ints("ends", [size * size]), emit.ints("axes", [len(kept)])]
        steps = emit.ints("steps", [size + 1])
        value = emit.op("Slice", "diagonal", [flat, *bounds, steps], [*kept, size])
        term = "".join(term[axis] for axis in others) + letter
    return value, term
