"""Measuring a suite on one device: random order, interleaved rounds, a reference all along, and an end by precision or
by time.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from android_bench.device import Device
from android_bench.suites.rounds import Candidate, advance, first_point
from android_bench.suites.schema import Measure
from evit_mobile.results.record import Point, RunSettings
from evit_mobile.results.stats import summarise
from evit_mobile.turns import turns


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


@dataclass(frozen=True)
class Lineup:
    """What is measured.

    Attributes:
        candidates: the points of the suite.
        reference: what is measured along with them; None for nothing.
        before: points of an earlier run under the same settings, told apart by name; the rounds go on where they
            stopped.
    """

    candidates: Sequence[Candidate]
    reference: Candidate | None = None
    before: Sequence[Point] = ()


def measure_suite(
    device: Device,
    lineup: Lineup,
    settings: RunSettings,
    plan: Measure,
    *,
    budget_s: float,
    stop: threading.Event | None = None,
) -> Iterator[State]:
    """Measure in passes: the reference, then each point that needs more rounds in an order that ``plan.seed`` gives.

    Yields before the first round and after each. Every pass gives each point one round, so that rounds of the same
    number were measured near each other and can be paired. A point that fails or meets a limit is left out from there
    on.

    Args:
        budget_s: how long to measure; a round that has begun is ended.
        stop: ends all after the round that is being measured.

    Raises:
        RequestError: what was measured before is of another model than the candidate of its name.
        EvitMobileError: from ``Device.prepare``. UnusableDeviceError: later on; what was yielded stands.
    """
    progress = _Progress(lineup, settings, plan, budget_s)
    yield progress.state()
    if progress.is_done():
        return
    paths = [progress.entries[index].path for index in progress.unfinished()]
    with device.prepare(paths, settings) as prepared:
        progress.clock.start()
        for turn, order in enumerate(turns(progress.measured, plan.seed)):
            if progress.is_done():
                return
            for index in progress.due(turn, order):
                if progress.clock.is_over() or (stop is not None and stop.is_set()):
                    return
                point = progress.points[index]
                with progress.clock.timed(point.name):
                    progress.points[index] = advance(point, prepared, progress.entries[index].path)
                yield progress.state()


class _Progress:
    """The points as they grow; an index counts the reference, if there is one, and then the candidates."""

    def __init__(self, lineup: Lineup, settings: RunSettings, plan: Measure, budget_s: float) -> None:
        before = {point.name: point for point in lineup.before}
        references = [lineup.reference] if lineup.reference is not None else []
        self.entries = [*references, *lineup.candidates]
        self.points = [first_point(entry, settings, before.get(entry.name)) for entry in self.entries]
        self.measured = range(len(references), len(self.entries))
        self._references = range(len(references))
        self._goal = _Goal(settings.rounds, plan)
        self.clock = _Clock(budget_s, self._goal)

    def is_done(self) -> bool:
        """Whether no candidate needs more rounds."""
        return all(self._goal.is_met(self.points[index]) for index in self.measured)

    def unfinished(self) -> list[int]:
        """What may still get a round."""
        waiting = [index for index in self._references if not self._goal.is_full(self.points[index])]
        return waiting + [index for index in self.measured if not self._goal.is_met(self.points[index])]

    def due(self, turn: int, order: Sequence[int]) -> list[int]:
        """What gets a round in this turn: the references, then the candidates that need one, in ``order``."""
        waiting = [index for index in order if not self._goal.is_met(self.points[index])]
        return [
            index
            for index in (*self._references, *waiting)
            if len(self.points[index].rounds) <= turn and not self._goal.is_full(self.points[index])
        ]

    def state(self) -> State:
        points = tuple(self.points[index] for index in self.measured)
        reference = self.points[0] if self._references else None
        done = sum(self._goal.is_met(point) for point in points)
        return State(points, reference, done, self.clock.left_s(points))


@dataclass(frozen=True)
class _Goal:
    """When a point has rounds enough: at least ``least_rounds``, and more as ``plan`` says."""

    least_rounds: int
    plan: Measure

    def most_rounds(self, point: Point) -> int:
        """Counts and estimates repeat: more rounds of them than were asked for say nothing new."""
        if point.quantity in ("instructions", "estimated_latency_us"):
            return self.least_rounds
        return max(self.plan.most_rounds, self.least_rounds)

    def is_full(self, point: Point) -> bool:
        """Whether a point may have no more rounds: it failed, or has the most."""
        return point.error is not None or len(point.rounds) >= self.most_rounds(point)

    def is_met(self, point: Point) -> bool:
        """Whether a point needs no more rounds: it may have none, or it is precise enough."""
        if self.is_full(point):
            return True
        if len(point.rounds) < self.least_rounds:
            return False
        summary = summarise(point.values)
        return (
            summary.interval is not None
            and summary.interval.high - summary.interval.low <= self.plan.interval_percent / 100 * summary.median
        )


class _Clock:
    """What is spent, and what is left at most."""

    def __init__(self, budget_s: float, goal: _Goal) -> None:
        self._budget_s, self._goal = budget_s, goal
        self._started: float | None = None
        self._seconds: dict[str, list[float]] = {}

    def start(self) -> None:
        self._started = time.monotonic()

    def is_over(self) -> bool:
        return self._spent_s() >= self._budget_s

    @contextlib.contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Note how long a round of the point ``name`` takes."""
        start = time.monotonic()
        try:
            yield
        finally:
            self._seconds.setdefault(name, []).append(time.monotonic() - start)

    def left_s(self, points: Sequence[Point]) -> float | None:
        """Until every open point has its most rounds at the pace so far, and no longer than the budget."""
        everything = [seconds for rounds in self._seconds.values() for seconds in rounds]
        if not everything:
            return None
        usual = sum(everything) / len(everything)
        left = 0.0
        for point in points:
            if not self._goal.is_met(point):
                own = self._seconds.get(point.name)
                rounds = self._goal.most_rounds(point) - len(point.rounds)
                left += (sum(own) / len(own) if own else usual) * rounds
        return max(min(left, self._budget_s - self._spent_s()), 0.0)

    def _spent_s(self) -> float:
        return time.monotonic() - self._started if self._started is not None else 0.0
