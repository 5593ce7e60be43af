"""Inputs for a model that is only timed."""

from __future__ import annotations

import numpy as np

from evit_mobile.runtimes.session import Array


def random_input(shape: tuple[int, ...], dtype: str) -> Array:
    """Seeded noise: normal for floats, the whole range for 8-bit integers; zeros for other integers, which may be
    indices.

    Args:
        shape: of the input tensor.
        dtype: its NumPy name.

    Returns:
        An array that is the same in every process.
    """
    rng = np.random.default_rng(0)
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return rng.standard_normal(shape).astype(kind)
    if kind in (np.int8, np.uint8):
        limits = np.iinfo(kind)
        return rng.integers(limits.min, limits.max, shape, kind, endpoint=True)
    return np.zeros(shape, kind)
