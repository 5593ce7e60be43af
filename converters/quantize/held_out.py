"""Calibration inputs that take no part in the calibration, so that the result can be tested on them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from converters.quantize.calibration import CalibrationData
from evit_mobile.arrays import Float32Array

#: One input in so many is held out, of which at most ``MOST`` are used.
EVERY, MOST = 4, 32


def calibration_part(data: CalibrationData) -> Iterator[Float32Array]:
    """The inputs to calibrate on: all but each ``EVERY``-th; each [1, H, W, C]."""
    return (value for number, value in enumerate(data) if not _is_held_out(number))


def calibration_size(data: CalibrationData) -> int:
    """The number of inputs of ``calibration_part``."""
    return len(data) - len(data) // EVERY


def held_out_part(data: CalibrationData) -> Iterator[Float32Array]:
    """The inputs to test on, each [1, H, W, C]; none of fewer than ``EVERY``."""
    return itertools.islice((value for number, value in enumerate(data) if _is_held_out(number)), MOST)


def _is_held_out(number: int) -> bool:
    return number % EVERY == EVERY - 1
