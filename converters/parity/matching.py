"""Which value of a network a tensor of a .tflite holds, found by the numbers: names change, and layouts do."""

from __future__ import annotations

from typing import Any

import numpy as np

from converters.parity.activations import Activation
from evit_mobile.arrays import Array

#: Values looked at before whole tensors are compared.
PROBES = 64


class Matcher:
    """Finds reference values by their numbers."""

    def __init__(self, activations: list[Activation], tolerance: float) -> None:
        self._activations, self._tolerance = activations, tolerance
        self._by_size: dict[int, list[int]] = {}
        for number, activation in enumerate(activations):
            # A value that is the same everywhere would agree with anything alike: it tells nothing.
            if np.ptp(activation.value) > 0:
                self._by_size.setdefault(activation.value.size, []).append(number)
        self._probes: dict[int, tuple[Array, list[tuple[int, int]], Array]] = {}

    def match_all(self, values: dict[int, Array]) -> dict[int, list[tuple[int, float]]]:
        """For each tensor that agrees with anything: numbers of the activations and the relative errors, best first."""
        candidates = {index: self._match(value) for index, value in values.items()}
        return {index: matches for index, matches in candidates.items() if matches}

    def _match(self, value: Array) -> list[tuple[int, float]]:
        if value.size not in self._by_size or np.ptp(value) == 0:
            return []
        places, candidates, probes = self._candidates(value.size)
        flat = value.reshape(-1).astype(np.float32)
        matches: dict[int, float] = {}
        scales = np.array([self._activations[number].magnitude for number, _ in candidates])
        near = np.abs(probes - flat[places]).max(axis=1) <= self._tolerance * scales
        for position in np.flatnonzero(near):
            number, variant = candidates[position]
            error = float(
                np.abs(orders(self._activations[number].value)[variant]().reshape(-1) - flat).max() / scales[position]
            )
            if error <= min(self._tolerance, matches.get(number, np.inf)):
                matches[number] = error
        return sorted(matches.items(), key=lambda item: item[1])

    def _candidates(self, size: int) -> tuple[Array, list[tuple[int, int]], Array]:
        """Places to probe, (activation, order) pairs of this size, and each one's values at those places."""
        if size not in self._probes:
            places = np.unique(np.random.default_rng(0).integers(0, size, PROBES))
            candidates, probes = [], []
            for number in self._by_size[size]:
                for variant, order in enumerate(orders(self._activations[number].value)):
                    candidates.append((number, variant))
                    probes.append(order().reshape(-1)[places])
            self._probes[size] = places, candidates, np.array(probes)
        return self._probes[size]


def orders(value: Array) -> list[Any]:
    """The orders in which ``value`` may lie in another layout, each as a function that gives the array."""
    value = np.squeeze(value)
    orders = [lambda: value]
    for split in range(1, value.ndim):
        rows = int(np.prod(value.shape[:split]))
        orders.append(lambda rows=rows: value.reshape(rows, -1).T)  # type: ignore[misc]
    if value.ndim > 2:
        orders.append(lambda: np.swapaxes(value, -1, -2))
    if value.ndim == 4:  # a batch, which np.squeeze leaves
        orders.append(lambda: np.moveaxis(value, 1, -1))
    return orders
