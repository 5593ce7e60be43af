"""Several models on one device, in turn."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Iterator, Sequence

from android_bench.device import Device, UnusableDeviceError
from evit_mobile.errors import EvitMobileError
from evit_mobile.results.record import Point, Round, RunSettings
from evit_mobile.weights import sha256_of


@dataclass(frozen=True)
class Candidate:
    """A .tflite to measure, under the name that tables show; the rest is what is known of it, see ``Point``."""

    name: str
    path: Path
    resolution: str | None = None
    precision: str | None = None
    ops: int | None = None
    partitions: int | None = None
    undelegated_ops: int | None = None


def measure(device: Device, candidates: Sequence[Candidate], settings: RunSettings) -> Iterator[tuple[Point, ...]]:
    """Measure in the order A B, B A, A B, …, so that a drift of the machine hits all alike; yield all points after each round.

    A candidate whose run fails keeps its rounds, gets its error, and is left out from there on; the others go on.

    Raises:
        EvitMobileError: from ``Device.prepare``, before anything is measured.
        UnusableDeviceError: later on; what was yielded stands.
    """
    points = [_empty_point(candidate, settings) for candidate in candidates]
    with device.prepare([candidate.path for candidate in candidates], settings):
        for turn in range(settings.rounds):
            order = range(len(candidates)) if turn % 2 == 0 else reversed(range(len(candidates)))
            for index in order:
                if points[index].error is None:
                    points[index] = _advance(points[index], device, candidates[index].path)
                    yield tuple(points)


def _empty_point(candidate: Candidate, settings: RunSettings) -> Point:
    return Point(
        name=candidate.name,
        model_sha256=sha256_of(candidate.path),
        model_bytes=candidate.path.stat().st_size,
        resolution=candidate.resolution,
        precision=candidate.precision,
        ops=candidate.ops,
        partitions=candidate.partitions,
        undelegated_ops=candidate.undelegated_ops,
        settings=settings,
    )


def _advance(point: Point, device: Device, path: Path) -> Point:
    """``point`` with one more round, or with the error that ended it."""
    before = device.conditions()
    try:
        measured = device.run(path, point.settings)
    except UnusableDeviceError:
        raise
    except EvitMobileError as error:
        return Point(**{**dict(point), "error": str(error)})
    whole = Round(**{**dict(measured), "before": measured.before or before, "after": device.conditions()})
    return Point(**{**dict(point), "rounds": (*point.rounds, whole)})
