"""Bounds that the lowering would round to those of a ReLU stay what they are.

Given: min(max(x, lo), hi), as Clip, as Max, or as Min of Max, where a bound lies within the lowering's tolerance of one
of RELU, RELU_N1_TO_1, RELU6 or RELU_0_TO_1 and is not equal to it: x / max(Σ, 1e-7) would become x / relu(Σ), 0/0 where
Σ is 0. Result: max(lo, min(x, hi)), equal wherever lo ≤ hi, with the lower bound as the first operand. The lowering
looks for a bound near 0 in the second operand alone, and for a bound near 1 in a MINIMUM behind a MAXIMUM, not before
one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from converters.passes.base import NodePass, Refused, Rewrite
from converters.passes.tools.graph import Emitter, constant_of, replace_value, scalar_of, shape_of, sole_consumer
from evit_mobile.specs import Target

if TYPE_CHECKING:
    import onnx_ir as ir

#: Bounds of the clamps that have a TFLite op of their own.
_NAMED = ((0.0, math.inf), (0.0, 6.0), (0.0, 1.0), (-1.0, 1.0))
#: A little wider than the lowering's own: 1e-6 absolute, plus 1e-5 relative at 1.
_ABSOLUTE, _RELATIVE = 2e-6, 2e-5


@dataclass(frozen=True)
class _Clamp:
    """``source`` held between ``low`` and ``high``; ``output`` is the result."""

    source: ir.Value
    low: float
    high: float
    output: ir.Value


class ExactClamp(NodePass):
    """Rewrites clamps whose bounds are close to those of a named one."""

    name = "exact-clamp"
    reason = "the lowering takes a bound of 1e-7 for 0, and what was kept from dividing by zero divides by it"
    op_types = frozenset({"Clip", "Min", "Max"})

    def match(self, node: ir.Node, target: Target) -> Rewrite | None:
        clamp = _clamp(node)
        if clamp is None or clamp.low > clamp.high or not _is_rounded(clamp.low, clamp.high):
            return None
        shape = shape_of(clamp.output)
        if shape is None:
            raise Refused("its shape is not static")
        return lambda emit: replace_value(clamp.output, _exact(emit, clamp, shape))


def _is_rounded(low: float, high: float) -> bool:
    """Whether the bounds are near those of a named clamp and are not the same."""
    near = [named for named in _NAMED if all(map(_is_near, (low, high), named))]
    return bool(near) and (low, high) not in near


def _is_near(bound: float, named: float) -> bool:
    return bound == named or math.isclose(bound, named, rel_tol=_RELATIVE, abs_tol=_ABSOLUTE)


def _clamp(node: ir.Node) -> _Clamp | None:
    """The clamp that ends in ``node``; None where it is none by scalars, or another op completes it."""
    import onnx_ir as ir

    if node.domain != "" or not node.inputs or node.outputs[0].dtype != ir.DataType.FLOAT:
        return None
    if node.op_type == "Clip":
        return _clip(node)
    if node.op_type == "Min":
        upper = _bounded(node)
        inner = upper[0].producer() if upper is not None else None
        lower = _bounded(inner) if inner is not None and inner.op_type == "Max" and inner.domain == "" else None
        if upper is None or lower is None or sole_consumer(upper[0]) is not node:
            return None
        return _Clamp(lower[0], lower[1], upper[1], node.outputs[0])
    lower = _bounded(node) if node.op_type == "Max" else None
    if lower is None or scalar_of(node.inputs[0]) is not None:
        return None
    reader = sole_consumer(node.outputs[0])
    if reader is not None and reader.op_type == "Min" and _bounded(reader) is not None:
        return None
    return _Clamp(lower[0], lower[1], math.inf, node.outputs[0])


def _clip(node: ir.Node) -> _Clamp | None:
    source = node.inputs[0]
    bounds = [*node.inputs[1:], None, None][:2]
    numbers = [default if bound is None else scalar_of(bound) for bound, default in zip(bounds, (-math.inf, math.inf))]
    low, high = numbers
    if source is None or low is None or high is None:
        return None
    return _Clamp(source, low, high, node.outputs[0])


def _bounded(node: ir.Node) -> tuple[ir.Value, float] | None:
    """The computed operand and the scalar of a Max or Min of two."""
    if len(node.inputs) != 2:
        return None
    for source, bound in (tuple(node.inputs), tuple(node.inputs)[::-1]):
        number = scalar_of(bound)
        if (
            number is not None
            and source is not None
            and constant_of(source) is None
            and shape_of(source) == shape_of(node.outputs[0])
        ):
            return source, number
    return None


def _exact(emit: Emitter, clamp: _Clamp, shape: tuple[int, ...]) -> ir.Value:
    value = clamp.source
    if clamp.high != math.inf:
        value = emit.op("Min", "below_high", [value, emit.constant("high", np.array(clamp.high, np.float32))], shape)
    low = emit.constant("low", np.array(clamp.low, np.float32))
    return emit.op("Max", "above_low", [low, value], shape)
