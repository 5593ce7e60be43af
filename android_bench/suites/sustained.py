"""Models that are called for minutes, without pause or at the pace of a camera, with the device's state beside."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from android_bench.device import Continuous, Device, Pace, Running, UnusableDeviceError
from android_bench.suites.rounds import Candidate, first_point
from android_bench.suites.windows import Windows
from evit_mobile.errors import EvitMobileError, RequestError
from evit_mobile.results.record import Point, ResultSet, RunSettings
from evit_mobile.results.timeline import Gap, Moment, Timeline, Turn
from evit_mobile.turns import turns

#: Turns that each of several models gets.
TURNS = 10
#: Windows and looks at the device in a run; a window of a long run is not shorter than a second, a look than 0.2 s.
WINDOWS, LOOKS = 600, 120
LEAST_LOOK_S = 0.2


def new_timeline(duration_s: float, period_s: float | None) -> Timeline:
    """The timeline of a run that has not begun.

    Raises:
        RequestError: the run is shorter than two frames.
    """
    if period_s is not None and duration_s < 2 * period_s:
        raise RequestError(f"a run of {duration_s:g} s is too short for a call every {period_s:g} s")
    return Timeline(
        duration_s=duration_s,
        window_s=min(max(1.0, duration_s / WINDOWS), duration_s / 20),
        period_us=period_s * 1e6 if period_s is not None else None,
    )


def resumed(results: ResultSet, asked: Timeline, candidates: Sequence[Candidate]) -> Timeline:
    """The timeline of an interrupted run with its gap marked, if it is what is asked for; ``asked`` where there is
    none yet.

    Raises:
        RequestError: the file holds rounds, another duration or pace, or other models.
    """
    before = results.timeline
    if before is None and results.points:
        raise RequestError("the file holds rounds, not a sustained run", hint="give another --out")
    if before is None:
        return asked
    names = [candidate.name for candidate in candidates]
    if (before.duration_s, before.period_us) != (asked.duration_s, asked.period_us):
        raise RequestError("the interrupted run had another duration or pace", hint="give it again, or another --out")
    if [point.name for point in results.points] != names:
        raise RequestError("the interrupted run was of other models", hint="name them again, or give another --out")
    if not before.turns or before.is_complete:
        return before
    last = before.moments[-1] if before.moments else None
    since = last.conditions.at if last is not None else results.created
    # What was recorded after the last look is a fraction of a window.
    lasted_s = (datetime.now(UTC) - since).total_seconds() - (before.end_s - (last.at_s if last is not None else 0.0))
    return before.evolve(gaps=(*before.gaps, Gap(at_s=before.end_s, lasted_s=max(0.0, lasted_s))))


def keep_measuring(
    device: Device,
    candidates: Sequence[Candidate],
    settings: RunSettings,
    timeline: Timeline,
    done: Sequence[Point] = (),
) -> Iterator[tuple[tuple[Point, ...], Timeline]]:
    """Call models in turn until the timeline is complete; yield points and timeline after each look.

    One model has the whole time in one process. Several take turns in the order A B, B A, …, each with a process and a
    warm-up of its own. A model that fails gets its error and has no more turns.

    Raises:
        RequestError: a model of ``done`` has changed, or the device cannot be looked at meanwhile.
        EvitMobileError: from ``Device.prepare``. UnusableDeviceError: later on; what was yielded stands.
    """
    before = {point.name: point for point in done}
    points = [first_point(candidate, settings, before.get(candidate.name)) for candidate in candidates]
    yield tuple(points), timeline
    if timeline.is_complete:
        return
    with device.prepare([candidate.path for candidate in candidates], settings) as prepared:
        if not isinstance(prepared, Continuous):
            raise RequestError(
                "this device has no clock of its own: nothing can be sustained or late on it",
                hint="--sustained and --every are for host and adb",
            )
        run = _Run(prepared, timeline.evolve(power_source=prepared.power_source), len(candidates))
        order = itertools.chain.from_iterable(turns(range(len(candidates))))
        for index in itertools.islice(order, len(timeline.turns), None):
            if run.left_s < timeline.window_s or all(point.error is not None for point in points):
                return
            if points[index].error is not None:
                continue
            try:
                for timeline in run.turn(candidates[index]):
                    yield tuple(points), timeline
            except UnusableDeviceError:
                raise
            except EvitMobileError as error:
                points[index] = points[index].evolve(error=str(error))
                yield tuple(points), run.timeline


class _Run:
    """A run that goes on from the end of ``timeline``."""

    def __init__(self, prepared: Continuous, timeline: Timeline, models: int) -> None:
        self._prepared, self.timeline = prepared, timeline
        self._turn_s = timeline.duration_s / (TURNS * models) if models > 1 else timeline.duration_s
        # The axis goes by the device's clock while a model is called, and by ours in between.
        self._at_s, self._since_s = timeline.end_s, time.monotonic()

    @property
    def left_s(self) -> float:
        """How much is to be measured yet."""
        return self.timeline.duration_s - self._now_s()

    def _now_s(self) -> float:
        return self._at_s + time.monotonic() - self._since_s

    def turn(self, candidate: Candidate) -> Iterator[Timeline]:
        """One turn of a model; the timeline after each look."""
        timeline = self.timeline
        period_ns = round(timeline.period_us * 1e3) if timeline.period_us is not None else None
        look_s = max(LEAST_LOOK_S, timeline.duration_s / LOOKS)
        pace = Pace(min(self.left_s, self._turn_s), look_s, period_ns)
        with self._prepared.keep_calling(candidate.path, pace) as running:
            at_s = self._now_s()
            windows = Windows(at_s, timeline.window_s, period_ns)
            for calls in running.calls:
                windows.add(calls)
                self._at_s, self._since_s = at_s + calls.until_ns / 1e9, time.monotonic()
                moment = Moment(at_s=self._at_s, conditions=calls.conditions, power_w=calls.power_w)
                self.timeline = self.timeline.evolve(moments=(*self.timeline.moments, moment))
                yield self._with_turn(timeline, candidate.name, at_s, running, windows)
            windows.finish()
            yield self._with_turn(timeline, candidate.name, at_s, running, windows)

    def _with_turn(self, before: Timeline, name: str, at_s: float, running: Running, windows: Windows) -> Timeline:
        turn = Turn(
            point=name,
            at_s=at_s,
            init_us=running.init_us,
            first_inference_us=running.first_inference_us,
            warmup_us=running.warmup_us,
            cores_mask=running.cores_mask,
            windows=windows.closed,
        )
        self.timeline = self.timeline.evolve(turns=(*before.turns, turn))
        return self.timeline
