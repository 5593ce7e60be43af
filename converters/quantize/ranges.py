"""From what was observed to a scale and a zero point."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from converters.quantize.observe import Observation


class RangeChoice(StrEnum):
    """How the interval that int8 covers is chosen: all that was seen, or the least squared error."""

    MIN_MAX = "min-max"
    MSE = "mse"


@dataclass(frozen=True)
class Parameters:
    """An int8 activation: real = scale · (q − zero_point), q in −128 … 127."""

    scale: float
    zero_point: int

    @property
    def low(self) -> float:
        return (-128 - self.zero_point) * self.scale

    @property
    def high(self) -> float:
        return (127 - self.zero_point) * self.scale


def parameters_of(low: float, high: float) -> Parameters:
    """Parameters that cover [low, high] widened to hold zero, which they represent exactly (padding and ReLU
    need it).
    """
    low, high = min(low, 0.0), max(high, 0.0)
    scale = max((high - low) / 255, 1e-9)
    return Parameters(float(np.float32(scale)), int(np.clip(round(-128 - low / scale), -128, 127)))


def choose_range(observations: list[Observation], choice: RangeChoice) -> tuple[float, float]:
    """[low, high] for tensors that share their parameters."""
    bounds = [_range(observation, choice) for observation in observations]
    return min(low for low, _ in bounds), max(high for _, high in bounds)


def _range(observation: Observation, choice: RangeChoice) -> tuple[float, float]:
    low, high = observation.low, observation.high
    if choice is RangeChoice.MIN_MAX or observation.counts.sum() < 1000 or not low < high:
        return low, high
    return _least_error(observation)


def _least_error(observation: Observation) -> tuple[float, float]:
    """Shrink both ends together, then each by itself, to the least expected squared error."""
    low, high = min(observation.low, 0.0), max(observation.high, 0.0)
    shares = np.linspace(0.3, 1.0, 36)
    both = min(shares, key=lambda share: squared_error(observation, parameters_of(low * share, high * share)))
    low, high = low * both, high * both
    finer = np.linspace(0.7, 1.3, 25)
    low = min(
        (max(low * share, observation.low) for share in finer),
        key=lambda end: squared_error(observation, parameters_of(end, high)),
    )
    high = min(
        (min(high * share, observation.high) for share in finer),
        key=lambda end: squared_error(observation, parameters_of(low, end)),
    )
    return float(low), float(high)


def squared_error(observation: Observation, parameters: Parameters) -> float:
    """Sum of squared errors of the observed values after rounding and clamping."""
    used = np.flatnonzero(observation.counts)
    values, counts = observation.centres[used], observation.counts[used]
    quantised = np.clip(np.round(values / parameters.scale) + parameters.zero_point, -128, 127)
    return float(np.sum(counts * (values - (quantised - parameters.zero_point) * parameters.scale) ** 2))


def sqnr_db(observation: Observation, parameters: Parameters) -> float:
    """Power of the observed values over power of their quantisation error; infinite where there is none."""
    error = squared_error(observation, parameters)
    power = float(np.sum(observation.counts * observation.centres**2))
    return 10 * math.log10(power / error) if error > 0 and power > 0 else math.inf
