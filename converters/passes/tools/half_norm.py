"""Normalisation in half precision, which ends at 65504 and whose normal numbers start at 2^-14.

Squares need twice the range of what is squared: σ² + ε of a dark picture is taken for zero, and of a bright one is
infinite. So c is divided by its own mean magnitude first: with m = max(mean |c|, √ε / 8) and u = c / 8m,

    c / √(mean c² + ε) = u / √(mean u² + (√ε / 8m)²)

for any m > 0. |u| is 1/8 on average, so that u² keeps its digits, and the root is 1/8 or more wherever c is not smaller
than √ε. |u| is N/16 at most, for one of N numbers that differs from all others: squares of 4096 are finite whatever
they are. Of more numbers the mean is 1/32. Two passes over c more than by its squares alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from converters.float16 import SMALLEST
from converters.passes.tools.graph import Emitter, shape_of

if TYPE_CHECKING:
    import onnx_ir as ir

#: Up to how many numbers |u| is 1/8 on average, and 8; what stands for it where there are more.
_FEW, _GAIN, _GAIN_OF_MANY = 4096, 8.0, 32.0


def over_root_mean_square(
    emit: Emitter, c: ir.Value, axes: Sequence[int], epsilon: float, scale: float = 1.0
) -> ir.Value:
    """``scale`` · c / √(mean c² + ε), the mean over ``axes``; the shape of ``c`` must be static."""
    root = math.sqrt(epsilon)
    u, inverse, gain = _unit(emit, c, axes, root)
    column = shape_of(inverse) or ()
    power = _power(emit, u, axes)
    if root / gain < SMALLEST:  # no number that half precision holds is as small as ε
        guarded = _larger(emit, SMALLEST, power)
    else:
        floor = emit.op("Mul", "floor", [inverse, _scalar(emit, "root", root)], column)
        guarded = emit.op("Add", "guarded", [power, emit.op("Mul", "epsilon", [floor, floor], column)], column)
    return _scaled(emit, u, emit.op("Sqrt", "deviation", [guarded], column), scale)


def over_root_plus(emit: Emitter, c: ir.Value, axes: Sequence[int], epsilon: float, scale: float = 1.0) -> ir.Value:
    """``scale`` · c / (√(mean c²) + ε), the mean over ``axes``; the shape of ``c`` must be static."""
    u, inverse, _ = _unit(emit, c, axes, epsilon)
    column = shape_of(inverse) or ()
    deviation = emit.op("Sqrt", "deviation", [_power(emit, u, axes)], column)
    floor = _larger(emit, SMALLEST, emit.op("Mul", "floor", [inverse, _scalar(emit, "epsilon", epsilon)], column))
    return _scaled(emit, u, emit.op("Add", "guarded", [deviation, floor], column), scale)


def over_mean_norm(emit: Emitter, x: ir.Value, axes: Sequence[int], of: Sequence[int], epsilon: float) -> ir.Value:
    """n / (mean n + ε) with n = ‖x‖ over ``axes``, the mean over the axes ``of``; the shape of ``x`` must be static."""
    u, inverse, _ = _unit(emit, x, [*axes, *of], 0.0)
    power = _power(emit, u, axes)
    norm = emit.op("Sqrt", "norm", [power], shape_of(power) or ())
    mean = emit.reduce("ReduceMean", "mean", norm, *of)
    column = shape_of(mean) or ()
    count = math.prod((shape_of(x) or ())[axis] for axis in axes)
    floor = emit.op("Mul", "floor", [inverse, _scalar(emit, "epsilon", epsilon / math.sqrt(count))], column)
    divisor = emit.op("Add", "guarded", [mean, _larger(emit, SMALLEST, floor)], column)
    return emit.op("Div", "response", [norm, divisor], shape_of(norm) or ())


def _larger(emit: Emitter, number: float, value: ir.Value) -> ir.Value:
    """The larger of the two."""
    # The lowering takes a number near 0 for that of a ReLU where it is the second operand.
    return emit.op("Max", "larger", [_scalar(emit, "smallest", number), value], shape_of(value) or ())


def _unit(emit: Emitter, c: ir.Value, axes: Sequence[int], root: float) -> tuple[ir.Value, ir.Value, float]:
    """u = c / gain · m, 1 / (gain · m), and the gain; m is what the module says, ``root`` being √ε."""
    shape = shape_of(c)
    assert shape is not None
    gain = _GAIN if math.prod(shape[axis] for axis in axes) <= _FEW else _GAIN_OF_MANY
    magnitude = emit.reduce("ReduceMean", "magnitude", emit.op("Abs", "absolute", [c], shape), *axes)
    divisor = _larger(emit, max(root / gain, SMALLEST), magnitude)
    inverse = emit.op("Div", "inverse", [_scalar(emit, "gain", 1 / gain), divisor], shape_of(magnitude) or ())
    return emit.op("Mul", "unit", [c, inverse], shape), inverse, gain


def _scaled(emit: Emitter, u: ir.Value, divisor: ir.Value, scale: float) -> ir.Value:
    over = emit.op("Div", "over", [_scalar(emit, "scale", scale), divisor], shape_of(divisor) or ())
    return emit.op("Mul", "normalised", [u, over], shape_of(u) or ())


def _power(emit: Emitter, u: ir.Value, axes: Sequence[int]) -> ir.Value:
    """The mean of u² over ``axes``."""
    return emit.reduce("ReduceMean", "power", emit.op("Mul", "squared", [u, u], shape_of(u) or ()), *axes)


def _scalar(emit: Emitter, name: str, number: float) -> ir.Value:
    return emit.constant(name, np.array([number], np.float32))
