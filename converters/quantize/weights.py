"""Weights and biases in integers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evit_mobile.arrays import Array

#: Axis of the output channels in each op's weights.
CHANNEL_AXIS = {"CONV_2D": 0, "FULLY_CONNECTED": 0, "DEPTHWISE_CONV_2D": 3}
#: Biases stay this far inside int32, so that the accumulator has room.
_BIAS_LIMIT = 2**29
#: A number is whole where it is nearer than this to one: float32 rounds a product of 127 steps by a thousandth of it.
_WHOLE = 1e-2
#: Numbers of a channel that are looked at before all of them.
_PROBED = 32


@dataclass(frozen=True)
class QuantisedWeights:
    """``values`` int8 in the weights' shape, real = ``scales`` [channels] · values; ``axis`` is the channels'."""

    values: NDArray[np.int8]
    scales: NDArray[np.float32]
    axis: int

    def dequantised(self) -> NDArray[np.float64]:
        """What the integers stand for."""
        return self.values.astype(np.float64) * along(self.scales.astype(np.float64), self.axis, self.values.ndim)


def quantise_weights(
    weights: Array, op_type: str, bias: Array | None = None, input_scale: float = 1.0
) -> QuantisedWeights:
    """Symmetric int8 a channel, −127 … 127. Where a channel is so small that its bias would not fit into int32 at
    ``input_scale`` times its scale, the scale is raised until it does.
    """
    axis = CHANNEL_AXIS[op_type]
    others = tuple(place for place in range(weights.ndim) if place != axis)
    scales = np.abs(weights.astype(np.float64)).max(axis=others) / 127
    if bias is not None:
        scales = np.maximum(scales, np.abs(bias.astype(np.float64)) / (_BIAS_LIMIT * input_scale))
    scales = np.maximum(scales, 1e-12).astype(np.float32)
    rounded = np.round(weights / along(scales.astype(np.float64), axis, weights.ndim))
    return QuantisedWeights(np.clip(rounded, -127, 127).astype(np.int8), scales, axis)


def integer_weights(weights: Array, op_type: str) -> QuantisedWeights | None:
    """Weights that were integers times a scale, one for each channel, as those integers; None where some were not.

    A quantised network's weights are found again by their values, wherever a rewrite has put them: of the scales that
    make whole numbers of a channel, the one that its largest is most steps of.
    """
    axis = CHANNEL_AXIS[op_type]
    rows = np.moveaxis(weights.astype(np.float64), axis, 0).reshape(weights.shape[axis], -1)
    largest = np.abs(rows).max(axis=1, keepdims=True)
    shares = rows / np.where(largest > 0, largest, 1.0)
    steps = np.zeros(len(rows))
    for count in range(128, 0, -1):
        open_rows = np.flatnonzero((steps == 0) & (rows.max(axis=1) * count < 127.5 * largest[:, 0]))
        if not len(open_rows):
            continue
        # Most counts are out by the first few numbers.
        near = _are_whole(shares[open_rows, :_PROBED] * count)
        near[near] = _are_whole(shares[open_rows[near]] * count)
        steps[open_rows[near]] = count
    steps[largest[:, 0] == 0] = 127
    if not steps.all():
        return None
    scales = (np.where(largest[:, 0] > 0, largest[:, 0], 1.0) / steps).astype(np.float32)
    integers = np.round(weights / along(scales.astype(np.float64), axis, weights.ndim)).astype(np.int8)
    return QuantisedWeights(integers, scales, axis)


def _are_whole(rows: Array) -> NDArray[np.bool_]:
    return np.asarray(np.abs(rows - np.round(rows)).max(axis=1, initial=0) < _WHOLE)


def quantise_bias(
    bias: Array, input_scale: float, weights: QuantisedWeights
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """int32 [channels] and its scales, input scale times weight scale."""
    scales = (np.float64(input_scale) * weights.scales.astype(np.float64)).astype(np.float32)
    return np.round(bias / scales.astype(np.float64)).astype(np.int32), scales


def corrected_bias(bias: Array, weights: Array, quantised: QuantisedWeights, input_means: Array, op_type: str) -> Array:
    """``bias`` less what the rounding of the weights adds on average: (Ŵ − W) E[x] a channel (Nagel et al. 2019,
    section 4.2).

    ``input_means`` [input channels] is E[x]; at padded borders the true mean is nearer to zero, which is left out of
    account.
    """
    error = quantised.dequantised() - weights
    if op_type == "DEPTHWISE_CONV_2D":
        multiplier = error.shape[3] // len(input_means)
        shift = error.sum(axis=(0, 1, 2)) * np.repeat(input_means, multiplier)
    else:
        # A grouped convolution's weights hold the input channels of their own group alone.
        read = error.shape[-1]
        groups = len(input_means) // read
        means = np.repeat(input_means.reshape(groups, read), len(error) // groups, axis=0)
        shift = (error.reshape(len(error), -1, read).sum(axis=1) * means).sum(axis=1)
    corrected: Array = bias - shift
    return corrected


def along(vector: Array, axis: int, rank: int) -> Array:
    """``vector`` [N] as an array of ``rank`` axes with N at ``axis`` and 1 elsewhere."""
    shape = [1] * rank
    shape[axis] = -1
    return vector.reshape(shape)
