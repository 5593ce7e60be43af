"""The normalisation of an input's pixels, taken into the first convolution.

Given: y = Conv(a x + b), a and b constant for each channel, written as Sub, Div, Add and Mul of the graph's input x
[N, C, H, W]. Their constants of C values are broadcast along the last axis of NHWC, which costs a call of the kernel
for each pixel.
Result: W'[o, i] = a[i] W[o, i]. Without padding, b goes into the bias, and nothing is left of the normalisation:

    bias'[o] = bias[o] + sum over i and the window of W[o, i] b[i]

With padding it may not: the border is 0 after the normalisation, and so has to be 0 before the convolution. Then one
Sub of -b / a is left, its constant repeated along a row, [1, C, 1, W], so that a row is one call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from converters.passes.base import NodePass, Refused, Rewrite
from converters.passes.tools.graph import Emitter, constant_of, is_padded, replace_value, shape_of, sole_consumer
from evit_mobile.arrays import Array
from evit_mobile.specs import Target

if TYPE_CHECKING:
    import onnx_ir as ir

_STEPS = frozenset({"Sub", "Add", "Mul", "Div"})
Factors = NDArray[np.float64]


class InputNormalisation(NodePass):
    """Rewrites Conv behind a chain of Sub, Add, Mul and Div that begins at the graph's input."""

    name = "input-normalisation"
    reason = "the first convolution can scale and shift its input itself"
    op_types = frozenset({"Conv"})

    def match(self, node: ir.Node, target: Target) -> Rewrite | None:
        shape, result = shape_of(node.inputs[0]), shape_of(node.outputs[0])
        if shape is None or result is None or len(shape) != 4 or not _reads_alone(node):
            return None
        chain = _affine_of_input(node.inputs[0], shape)
        if chain is None:
            return None
        image, factor, shift = chain
        weight = constant_of(node.inputs[1])
        bias = node.inputs[2] if len(node.inputs) > 2 else None
        offsets = np.zeros(result[1], np.float32) if bias is None else constant_of(bias)
        if weight is None or offsets is None:
            raise Refused("the first convolution's weights are computed")
        if not factor.all():
            raise Refused("it multiplies a channel by 0")
        groups = node.attributes.get_int("group", 1)
        read = _channels_read(factor, weight, groups), _channels_read(shift, weight, groups)
        scaled = (weight * read[0]).astype(np.float32)
        if not is_padded(node):
            offsets = (offsets + (weight * read[1]).sum((1, 2, 3))).astype(np.float32)
            shift = np.zeros_like(shift)

        def rewrite(emit: Emitter) -> None:
            source = image
            if shift.any():
                mean = np.broadcast_to((-shift / factor).astype(np.float32).reshape(1, -1, 1, 1), (1, *_row(shape)))
                source = emit.op("Sub", "centred", [image, emit.constant("mean", mean)], shape)
            operands = [source, emit.constant("weight", scaled), emit.constant("bias", offsets)]
            attributes = dict(node.attributes)
            replace_value(node.outputs[0], emit.op("Conv", "normalised", operands, result, **attributes))

        return rewrite


def _reads_alone(node: ir.Node) -> bool:
    value = node.inputs[0]
    return value is not None and sole_consumer(value) is node


def _row(shape: tuple[int, ...]) -> tuple[int, int, int]:
    return shape[1], 1, shape[3]


def _affine_of_input(value: ir.Value | None, shape: tuple[int, ...]) -> tuple[ir.Value, Factors, Factors] | None:
    """x, a and b where ``value`` = a x + b, x an input of the graph of the same ``shape``; None where it is not
    that.
    """
    channels = shape[1]
    steps: list[tuple[ir.Node, Factors, bool]] = []
    while value is not None and not value.is_graph_input():
        node = value.producer()
        if node is None or node.op_type not in _STEPS or sole_consumer(value) is None:
            return None
        constants = [_by_channel(constant_of(operand), channels) for operand in node.inputs]
        place = next((place for place, constant in enumerate(constants) if constant is not None), None)
        if place is None or (place == 0 and node.op_type == "Div"):
            return None
        constant = constants[place]
        assert constant is not None
        steps.append((node, constant, place == 0))
        value = node.inputs[1 - place]
    if value is None or not steps or shape_of(value) != shape:
        return None
    factor: Factors = np.ones(channels)
    shift: Factors = np.zeros(channels)
    for node, constant, first in reversed(steps):
        if node.op_type in ("Mul", "Div"):
            by = constant if node.op_type == "Mul" else 1 / constant
            factor, shift = factor * by, shift * by
        elif node.op_type == "Add":
            shift = shift + constant
        else:
            factor, shift = (-factor, constant - shift) if first else (factor, shift - constant)
    return (value, factor, shift) if np.isfinite([factor, shift]).all() else None


def _by_channel(constant: Array | None, channels: int) -> Factors | None:
    """A constant as one value a channel of [N, C, H, W]; None where it is not that."""
    if constant is None or constant.dtype != np.float32:
        return None
    if constant.size == 1:
        return np.full(channels, float(constant.reshape(-1)[0]))
    if constant.ndim < 3 or constant.shape[-3] != channels or constant.size != channels:
        return None
    return constant.reshape(-1).astype(np.float64)


def _channels_read(values: Factors, weight: Array, groups: int) -> Factors:
    """``values`` of the input's channels as ``weight`` [O, I / groups, H, W] reads them, [O, I / groups, 1, 1]."""
    parts = values.reshape(groups, weight.shape[1])
    return np.repeat(parts, weight.shape[0] // groups, 0)[:, :, np.newaxis, np.newaxis]
