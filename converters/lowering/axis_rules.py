"""Which ops of TFLite work on axes in any order, and how their parameters follow it.

An order has for each axis of a transposed tensor the axis before: ``transposed.shape[k] == source.shape[order[k]]``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from evit_mobile.arrays import Array


@dataclass(frozen=True)
class View:
    """A tensor that is ``source`` with its axes in ``order``."""

    source: int
    order: tuple[int, ...]


@dataclass(frozen=True)
class Changed:
    """An op for the order before a transposition: which operands are maps, and new values of the others."""

    operator: Any
    maps: frozenset[int]
    parameters: dict[int, Array] = field(default_factory=dict)


#: Of an op, an order and the constants by tensor; None where the op cannot follow. The op is the rule's to change.
Rule = Callable[[Any, tuple[int, ...], Callable[[int], Array | None]], Changed | None]


def moves_nothing(shape: Sequence[int], order: Sequence[int]) -> bool:
    """Whether the transposition of ``shape`` leaves its values where they are in memory."""
    moved = [axis for axis in order if shape[axis] != 1]
    return moved == sorted(moved)


def _elementwise(operator: Any, order: tuple[int, ...], constant: Callable[[int], Array | None]) -> Changed | None:
    return Changed(operator, frozenset(range(len(operator.inputs))))


def _joined(operator: Any, order: tuple[int, ...], constant: Callable[[int], Array | None]) -> Changed | None:
    operator.builtinOptions.axis = order[operator.builtinOptions.axis % len(order)]
    return Changed(operator, frozenset(range(len(operator.inputs))))


def _by_rows(*places: int) -> Rule:
    """An op whose operands at ``places`` have one number, or pair of them, for each axis."""

    def rule(operator: Any, order: tuple[int, ...], constant: Callable[[int], Array | None]) -> Changed | None:
        parameters = {}
        for place in places:
            values = constant(int(operator.inputs[place]))
            if values is None or len(values) != len(order):
                return None
            parameters[place] = np.ascontiguousarray(values[np.argsort(order)])
        return Changed(operator, frozenset({0}), parameters)

    return rule


def _reduced(operator: Any, order: tuple[int, ...], constant: Callable[[int], Array | None]) -> Changed | None:
    axes = constant(int(operator.inputs[1]))
    if axes is None or not operator.builtinOptions.keepDims:
        return None
    before = np.array(sorted(order[int(axis) % len(order)] for axis in axes.reshape(-1)), np.int32)
    return Changed(operator, frozenset({0}), {1: before})


def _by_axes(operator: Any, order: tuple[int, ...], constant: Callable[[int], Array | None]) -> Changed | None:
    axes = constant(int(operator.inputs[1]))
    if axes is None:
        return None
    return Changed(operator, frozenset({0}), {1: np.array([order[axis] for axis in axes.reshape(-1)], np.int32)})


def _picked(operator: Any, order: tuple[int, ...], constant: Callable[[int], Array | None]) -> Changed | None:
    places = constant(int(operator.inputs[1]))
    if places is None or places.ndim != 1 or operator.builtinOptions.batchDims:
        return None
    operator.builtinOptions.axis = order[operator.builtinOptions.axis % len(order)]
    return Changed(operator, frozenset({0}))


def _over_last(operator: Any, order: tuple[int, ...], constant: Callable[[int], Array | None]) -> Changed | None:
    return _elementwise(operator, order, constant) if order[-1] == len(order) - 1 else None


RULES: dict[str, Rule] = {
    **dict.fromkeys(
        (
            "RELU", "RELU6", "RELU_0_TO_1", "RELU_N1_TO_1", "LOGISTIC", "TANH", "HARD_SWISH", "ELU", "LEAKY_RELU",
            "ABS", "NEG", "EXP", "LOG", "SQRT", "RSQRT", "SQUARE", "GELU", "FLOOR", "CEIL", "ROUND", "SIN", "COS",
            "ADD", "SUB", "MUL", "DIV", "MAXIMUM", "MINIMUM", "SQUARED_DIFFERENCE", "PRELU",
        ),
        _elementwise,
    ),
    "CONCATENATION": _joined,
    "PAD": _by_rows(1),
    "SLICE": _by_rows(1, 2),
    "MIRROR_PAD": _by_rows(1),
    "PADV2": _by_rows(1),
    "TILE": _by_rows(1),
    "REVERSE_V2": _by_axes,
    "GATHER": _picked,
    **dict.fromkeys(("MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN"), _reduced),
    "SOFTMAX": _over_last,
}  # fmt: skip
