"""Several models on one device, in turn."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Iterator, Sequence

from android_bench.device import Device, LimitError, OpEstimator, Prepared, Profiler, UnusableDeviceError
from evit_mobile.errors import EvitMobileError, RequestError
from evit_mobile.results.content import Content
from evit_mobile.results.record import Place, Point, RunSettings
from evit_mobile.turns import turns
from evit_mobile.weights import sha256_of


@dataclass(frozen=True)
class Candidate:
    """A .tflite to measure, under the name that tables show; the rest is what is known of it, see ``Point``."""

    name: str
    path: Path
    resolution: str | None = None
    content: Content = Content()
    place: Place | None = None


def measure(
    device: Device,
    candidates: Sequence[Candidate],
    settings: RunSettings,
    done: Sequence[Point] = (),
    *,
    profile: bool = False,
) -> Iterator[tuple[Point, ...]]:
    """Measure in the order A B, B A, A B, …, so that a drift of the machine hits all alike; yield all points after each
    round.

    A candidate whose run fails keeps its rounds, gets its error, and is left out from there on; the others go on.

    Args:
        done: points of an earlier run under the same settings, told apart by name: only the rounds that they lack are
            measured.
        profile: give each point its time by op, too, by a run after the rounds.

    Raises:
        RequestError: a point of ``done`` is of another model than the candidate of its name, or the device has no
            profiler.
        EvitMobileError: from ``Device.prepare``, before anything is measured.
        UnusableDeviceError: later on; what was yielded stands.
    """
    if profile and not device.profiles:
        raise RequestError("this device has no op profile", hint="for qemu: evit-mobile emulator profile FILE.tflite")
    before = {point.name: point for point in done}
    points = [first_point(candidate, settings, before.get(candidate.name)) for candidate in candidates]
    if all(point.is_complete and (_has_profile(point) or not profile) for point in points):
        yield tuple(points)
        return
    with device.prepare([candidate.path for candidate in candidates], settings) as prepared:
        for turn, order in zip(range(settings.rounds), turns(range(len(candidates)))):
            for index in order:
                if points[index].error is None and len(points[index].rounds) <= turn:
                    points[index] = advance(points[index], prepared, candidates[index].path)
                    yield tuple(points)
        if profile and isinstance(prepared, (Profiler, OpEstimator)):
            for index, candidate in enumerate(candidates):
                if points[index].is_complete and not _has_profile(points[index]):
                    points[index] = _profiled(points[index], prepared, candidate.path)
                    yield tuple(points)


def first_point(candidate: Candidate, settings: RunSettings, before: Point | None) -> Point:
    """The point to begin with: the one from before, without the error that ended it, or else an empty one.

    Raises:
        RequestError: the one from before is of another model.
    """
    empty = _empty_point(candidate, settings)
    if before is None:
        return empty
    if before.model_sha256 != empty.model_sha256:
        raise RequestError(
            f"the model {candidate.name} has changed since it was measured", hint="measure it again, without --resume"
        )
    return before.evolve(error=None, limit=None, profile_error=None)


def _has_profile(point: Point) -> bool:
    return bool(point.profile or point.op_estimates)


def _profiled(point: Point, prepared: Profiler | OpEstimator, path: Path) -> Point:
    """``point`` with its profile; or why it has none: the rounds count all the same."""
    try:
        if isinstance(prepared, OpEstimator):
            return point.evolve(op_estimates=prepared.op_estimates(path))
        return point.evolve(profile=prepared.profile(path))
    except UnusableDeviceError:
        raise
    except EvitMobileError as error:
        return point.evolve(profile_error=str(error))


def _empty_point(candidate: Candidate, settings: RunSettings) -> Point:
    return Point(
        name=candidate.name,
        model_sha256=sha256_of(candidate.path),
        model_bytes=candidate.path.stat().st_size,
        resolution=candidate.resolution,
        settings=settings,
        place=candidate.place,
        **dict(candidate.content),
    )


def advance(point: Point, prepared: Prepared, path: Path) -> Point:
    """``point`` with one more round, or with the error that ended it."""
    before = prepared.conditions()
    try:
        measured = prepared.run(path)
    except UnusableDeviceError:
        raise
    except EvitMobileError as error:
        return point.evolve(error=str(error), limit=error.limit if isinstance(error, LimitError) else None)
    whole = measured.evolve(before=measured.before or before, after=prepared.conditions())
    return point.evolve(rounds=(*point.rounds, whole))
