"""What a float model's tensors hold over the calibration images, gathered image by image.

Memory does not grow with the number of images: a tensor is kept as its extremes, sums a channel, and a histogram of
fixed size whose bins double in width when a value falls outside.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from evit_mobile.arrays import Array
from evit_mobile.errors import RequestError, first_line
from evit_mobile.runtimes.client import WorkerSession
from evit_mobile.runtimes.litert import LITERT
from evit_mobile.tflite.file import Tflite
from evit_mobile.tflite.graph import Graph

#: Bins of a histogram, half of them below zero: at least 8 to a step of int8 even for a tensor of one sign right after
#: a doubling.
BINS = 8192


@dataclass
class Observation:
    """A tensor over all images. ``counts[i]`` are values in [(i - BINS/2) w, (i + 1 - BINS/2) w) with the bin width w.

    ``channel_sums`` are sums over all but the last axis, for ``rows`` rows in all.
    """

    low: float = np.inf
    high: float = -np.inf
    width: float = 0.0
    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(BINS, np.int64))
    channel_sums: NDArray[np.float64] | None = None
    rows: int = 0

    def add(self, values: Array) -> None:
        """Take up one image's values; the last axis is the channels."""
        low, high = float(values.min()), float(values.max())
        self.low, self.high = min(self.low, low), max(self.high, high)
        self._widen(max(-low, high, 1e-12))
        indices = np.floor(values.reshape(-1) * np.float32(1 / self.width)).astype(np.int32) + BINS // 2
        self.counts += np.bincount(np.clip(indices, 0, BINS - 1), minlength=BINS)
        rows = values.reshape(-1, values.shape[-1]) if values.ndim else values.reshape(1, 1)
        sums = rows.sum(0, dtype=np.float64)
        self.channel_sums = sums if self.channel_sums is None else self.channel_sums + sums
        self.rows += len(rows)

    @property
    def channel_means(self) -> NDArray[np.float64]:
        """[C], over images and positions."""
        assert self.channel_sums is not None
        return np.asarray(self.channel_sums / self.rows, np.float64)

    @property
    def centres(self) -> NDArray[np.float64]:
        """[BINS]: the middle of each bin."""
        return np.asarray((np.arange(BINS) - BINS // 2 + 0.5) * self.width, np.float64)

    def raised_to(self, lowest: float) -> Observation:
        """The same values, those below ``lowest`` counted as ``lowest``."""
        if lowest <= self.low:
            return self
        counts, first = self.counts.copy(), min(math.floor(lowest / self.width) + BINS // 2, BINS - 1)
        counts[first] = counts[: first + 1].sum()
        counts[:first] = 0
        return dataclasses.replace(self, low=lowest, high=max(self.high, lowest), counts=counts)

    def _widen(self, magnitude: float) -> None:
        """Double the bins' width until ``magnitude`` falls inside; a bin and its neighbour become one."""
        if self.width == 0.0:
            self.width = magnitude * 1.25 / (BINS // 2)
        while magnitude > self.width * (BINS // 2 - 1):
            merged = self.counts.reshape(-1, 2).sum(1)
            self.counts = np.zeros(BINS, np.int64)
            self.counts[BINS // 4 : BINS // 4 + BINS // 2] = merged
            self.width *= 2


def observe(model: Tflite, images: Iterable[Array]) -> dict[int, Observation]:
    """Run the float ``model`` on every image ([1, H, W, C] float32); what each computed tensor held, by index.

    Raises:
        RequestError: there is no image, one has another shape, or one leads to a value that is not finite; LiteRT
            cannot run the model.
    """
    graph, count = model.graph, 0
    shape = tuple(graph.tensors[graph.inputs[0]].shape)
    observed = {index: Observation() for index in _computed(graph)}
    with model.on_disk() as path, LITERT.open_with_values(path) as session:
        for image in images:
            if tuple(image.shape) != shape:
                raise RequestError(
                    f"calibration image {count} has shape {list(image.shape)}, the model takes {list(shape)} (NHWC)"
                )
            _observe(session, image, observed, f"calibration image {count}", graph)
            count += 1
    if not count:
        raise RequestError("the calibration data holds no image")
    return observed


def _observe(session: WorkerSession, image: Array, observed: dict[int, Observation], what: str, graph: Graph) -> None:
    """Take up what each tensor of ``observed`` holds for one image, which messages call ``what``."""
    try:
        session.run([np.ascontiguousarray(image, np.float32)])
    except (RuntimeError, ValueError) as error:
        raise RequestError(f"LiteRT cannot run {what}: {first_line(error)}") from error
    for index, observation in observed.items():
        values = session.value(index)
        if not np.isfinite(values).all():
            name = graph.tensors[index].name
            raise RequestError(f"{what} makes {name} infinite or NaN", hint="are the weights trained ones?")
        observation.add(values)


def _computed(graph: Graph) -> list[int]:
    """Float tensors that depend on the input, the input first."""
    indices = [*graph.inputs, *(index for op in graph.ops if op.depends_on_input for index in op.outputs)]
    return [index for index in indices if graph.tensors[index].dtype == "float32"]
