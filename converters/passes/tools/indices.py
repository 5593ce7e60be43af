"""Constant indices of gathers and scatters."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from evit_mobile.arrays import Array


def counted_from_the_start(indices: Array, sizes: int | Sequence[int]) -> Array | None:
    """``indices`` [..., k] along k axes of ``sizes``, or of any shape along one, without ONNX's negative ones, which
    count from the end; None where one lies outside the map.
    """
    places = np.where(indices < 0, indices + np.asarray(sizes), indices)
    return None if np.any((places < 0) | (places >= np.asarray(sizes))) else places
