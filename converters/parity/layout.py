"""The order of axes in a .tflite and in the graph that it was made from."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.generic]


def to_file(value: Array, shape: tuple[int, ...]) -> Array:
    """An input as a file with an input of ``shape`` takes it: images [N, C, H, W] -> [N, H, W, C], others as they are where they fit."""
    if value.ndim > 2:
        moved = np.moveaxis(value, 1, -1)
        if moved.shape == shape and (value.ndim == 4 or value.shape != shape):
            return np.ascontiguousarray(moved)
    return value


def from_file(value: Array, shape: tuple[int, ...]) -> Array:
    """An output in the graph's order, of ``shape``: NHWC as the file gives it -> NCHW; what does not fit is left as it is."""
    if value.ndim > 2 and value.ndim == len(shape):
        moved = np.moveaxis(value, -1, 1)
        if moved.shape == shape and (value.ndim == 4 or value.shape != shape):
            return moved
    return value
