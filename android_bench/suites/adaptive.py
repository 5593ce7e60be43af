"""Measuring a suite on one device: random order, interleaved rounds, a reference all along, and an end by precision or
by time.
"""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from android_bench.device import Device
from android_bench.suites.rounds import Candidate, advance, first_point
from android_bench.suites.schema import Measure
from evit_mobile.results.record import Point, RunSettings
from evit_mobile.results.stats import summarise


@dataclass(frozen=True)
class State:
    """How far a suite is under one setting.

    Attributes:
        points, reference: with all their rounds so far.
        done: how many of the points need no more rounds.
        left_s: at most this long until the end; None before anything is known.
    """

    points: tuple[Point, ...]
    reference: Point | None
    done: int
    left_s: float | None


def measure_suite(
    device: Device,
    candidates: Sequence[Candidate],
    reference: Candidate | None,
    settings: RunSettings,
    plan: Measure,
    before: Sequence[Point] = (),
    *,
    budget_s: float,
    stop: threading.Event | None = None,
) -> Iterator[State]:
    """Measure in passes: the reference, then each point that needs more rounds in an order that ``plan.seed`` gives.

    Yields before the first round and after each. Every pass gives each point one round, so that rounds of the same
    number were measured near each other and can be paired. A point that fails or meets a limit is left out from there
    on.

    Args:
        before: points of an earlier run under the same settings, told apart by name; the passes go on where they
            stopped.
        budget_s: how long to measure; a round that has begun is ended.
        stop: ends all after the round that is being measured.

    Raises:
        RequestError: what was measured before is of another model than the candidate of its name.
        EvitMobileError: from ``Device.prepare``. UnusableDeviceError: later on; what was yielded stands.
    """
    known = {point.name: point for point in before}
    everything = [reference] if reference is not None else []
    everything += candidates
    points = [first_point(candidate, settings, known.get(candidate.name)) for candidate in everything]
    first = len(everything) - len(candidates)
    clock = _Clock(budget_s)

    def state() -> State:
        measured = points[first:]
        done = sum(_is_done(point, settings.rounds, plan) for point in measured)
        return State(tuple(measured), points[0] if first else None, done, clock.left_s(measured, settings.rounds, plan))

    yield state()
    if all(_is_done(point, settings.rounds, plan) for point in points[first:]):
        return
    needed = [
        candidate.path
        for index, (candidate, point) in enumerate(zip(everything, points))
        if (
            len(point.rounds) < _most(point, settings.rounds, plan)
            if index < first
            else not _is_done(point, settings.rounds, plan)
        )
    ]
    with device.prepare(needed, settings) as prepared:
        clock.start()
        for turn in itertools.count():
            waiting = [
                index for index in range(first, len(points)) if not _is_done(points[index], settings.rounds, plan)
            ]
            if not waiting:
                return
            random.Random(f"{plan.seed} {turn}").shuffle(waiting)
            for index in [*range(first), *waiting]:
                point = points[index]
                if (
                    len(point.rounds) > turn
                    or point.error is not None
                    or len(point.rounds) >= _most(point, settings.rounds, plan)
                ):
                    continue
                if clock.is_over() or (stop is not None and stop.is_set()):
                    return
                with clock.timed(point.name):
                    points[index] = advance(point, prepared, everything[index].path)
                yield state()


def _is_done(point: Point, least_rounds: int, plan: Measure) -> bool:
    """Whether a point needs no more rounds: it failed, it is precise enough, or it has the most that it may have."""
    if point.error is not None or len(point.rounds) >= _most(point, least_rounds, plan):
        return True
    if len(point.rounds) < least_rounds:
        return False
    found = summarise(point.values)
    return (
        found.interval is not None
        and found.interval.high - found.interval.low <= plan.interval_percent / 100 * found.median
    )


def _most(point: Point, least_rounds: int, plan: Measure) -> int:
    """Counts and estimates repeat, so that more rounds of them than were asked for tell nothing."""
    return (
        least_rounds
        if point.quantity in ("instructions", "estimated_latency_us")
        else max(plan.most_rounds, least_rounds)
    )


class _Clock:
    """What is spent, and what is left at most."""

    def __init__(self, budget_s: float) -> None:
        self._budget_s = budget_s
        self._started: float | None = None
        self._seconds: dict[str, list[float]] = {}

    def start(self) -> None:
        self._started = time.monotonic()

    def is_over(self) -> bool:
        return self._spent_s() >= self._budget_s

    def timed(self, name: str) -> _Timed:
        return _Timed(self._seconds.setdefault(name, []))

    def left_s(self, points: Sequence[Point], least_rounds: int, plan: Measure) -> float | None:
        """Until every open point has its most rounds at the pace so far, and no longer than the budget."""
        everything = [seconds for each in self._seconds.values() for seconds in each]
        if not everything:
            return None
        usual = sum(everything) / len(everything)
        left = 0.0
        for point in points:
            if not _is_done(point, least_rounds, plan):
                own = self._seconds.get(point.name)
                rounds = _most(point, least_rounds, plan) - len(point.rounds)
                left += (sum(own) / len(own) if own else usual) * rounds
        return max(min(left, self._budget_s - self._spent_s()), 0.0)

    def _spent_s(self) -> float:
        return time.monotonic() - self._started if self._started is not None else 0.0


class _Timed:
    """Adds how long its body took to ``into``."""

    def __init__(self, into: list[float]) -> None:
        self._into = into

    def __enter__(self) -> None:
        self._start = time.monotonic()

    def __exit__(self, *error: object) -> None:
        self._into.append(time.monotonic() - self._start)
