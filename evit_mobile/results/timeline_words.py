"""What a timeline says, as a table and in sentences: for a terminal, a page and an alternative text."""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Sequence

from evit_mobile.results.record import ResultSet
from evit_mobile.results.stats import MIN_ROUNDS, Interval
from evit_mobile.results.steady import Course, courses, first_throttling
from evit_mobile.results.summary import show, show_interval, significant, significant_interval
from evit_mobile.results.timeline import Moment, Timeline

NONE = "–"
#: Of ``time_cells``.
TIME_HEADER = (
    "model", "from, s", "calls", "p10, ms", "median, ms", "p90, ms", "most, ms", "late", "dropped", "hottest, °C",
    "fastest core, MHz", "thermal status", "power, W", "load",
)  # fmt: skip


def table(shown: Sequence[Course]) -> tuple[list[str], list[list[str]]]:
    """Header and rows, ready to be printed; columns that no model has anything in are left out."""
    header = [
        "model", "first minute, ms", "steady, ms", "95% interval", "steady / first", "95% interval", "calls",
        "frames due", "late", "dropped", "mJ per call", "95% interval",
    ]  # fmt: skip
    rows = [_row(course) for course in shown]
    kept = [0, *(column for column in range(1, len(header)) if any(row[column] != NONE for row in rows))]
    return [header[column] for column in kept], [[row[column] for column in kept] for row in rows]


def _row(course: Course) -> list[str]:
    first, steady, ratio, frames, joules = (
        course.first, course.steady, course.steady_to_first, course.frames, course.joules,
    )  # fmt: skip
    return [
        course.point,
        show("latency_us", first.median) if first else NONE,
        show("latency_us", steady.median) if steady else NONE,
        show_interval("latency_us", steady.interval) if steady else NONE,
        significant(ratio.ratio) if ratio else NONE,
        significant_interval(ratio.interval) if ratio else NONE,
        f"{course.calls:,}",
        *([f"{count:,}" for count in (frames.due, frames.late, frames.dropped)] if frames else [NONE] * 3),
        significant(joules.median * 1e3) if joules else NONE,
        _millijoules(joules.interval) if joules else NONE,
    ]


def _millijoules(interval: Interval | None) -> str:
    return significant_interval(interval and Interval(interval.low * 1e3, interval.high * 1e3))


def in_one_line(results: ResultSet) -> str:
    """The table and the sentences as one text, for who cannot see the picture."""
    timeline = results.timeline
    assert timeline is not None
    header, rows = table(courses(timeline))
    shown = ["; ".join(f"{title} {cell}" for title, cell in zip(header, row)) for row in rows]
    return " ".join([*(f"{text}." for text in shown), *said(results)])


def time_cells(timeline: Timeline) -> Iterator[tuple[str | float | int | None, ...]]:
    """A row for each window, see TIME_HEADER; the device's state is that of the next look."""
    times = [moment.at_s for moment in timeline.moments]
    for turn in timeline.turns:
        for window in turn.windows:
            index = bisect.bisect_left(times, window.at_s)
            state = _state(timeline.moments[index]) if index < len(times) else (None,) * 5
            latencies = (value / 1e3 for value in (window.p10_us, window.median_us, window.p90_us, window.max_us))
            yield (turn.point, window.at_s, window.calls, *latencies, window.late, window.dropped, *state)


def _state(moment: Moment) -> tuple[float | int | None, ...]:
    state = moment.conditions
    return (
        state.hottest_celsius,
        max((clock // 1000 for clock in state.clocks_khz.values()), default=None),
        state.thermal_status,
        moment.power_w,
        state.load_average_1min,
    )


def said(results: ResultSet) -> list[str]:
    """What else there is to know: throttling, gaps, frames, energy, and what the device does not say."""
    timeline = results.timeline
    if timeline is None:
        return []
    shown = courses(timeline)
    return [
        _throttling(results, timeline),
        *(f"Interrupted after {duration(gap.at_s)}, for {duration(gap.lasted_s)}." for gap in timeline.gaps),
        *_stopped(timeline),
        *(text for course in shown for text in _steady(course)),
        *([f"The models took turns: {len(timeline.turns)} in the order {_order(timeline)}."] if len(shown) > 1 else []),
        _energy(timeline),
    ]


def _stopped(timeline: Timeline) -> list[str]:
    if timeline.is_complete:
        return []
    return [f"Stopped after {duration(timeline.end_s)} of {duration(timeline.duration_s)}."]


def duration(seconds: float) -> str:
    """``45 s``, ``12.5 min`` or ``3.2 h``."""
    if seconds < 120:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _throttling(results: ResultSet, timeline: Timeline) -> str:
    throttling = first_throttling(timeline, results.device)
    if throttling is not None:
        return f"First throttled after {duration(throttling.at_s)}: {throttling.reason}."
    states = [moment.conditions for moment in timeline.moments]
    if any(state.thermal_status is not None or state.clock_limits_khz or state.clocks_khz for state in states):
        return "No throttling was seen."
    return "This device does not say whether it throttles: neither its clocks nor a thermal status."


def _steady(course: Course) -> list[str]:
    if course.calls and course.steady is None:
        return [f"{course.point} has no steady state: it drifts up to the end, or was called for too short a time."]
    if course.steady is not None and course.steady.rounds < MIN_ROUNDS:
        return [f"{course.point} was called for too short a time for an interval."]
    return []


def _order(timeline: Timeline) -> str:
    names = [turn.point for turn in timeline.turns]
    return ", ".join(names[:8]) + (", …" if len(names) > 8 else "")


def _energy(timeline: Timeline) -> str:
    if timeline.power_source is None or not any(moment.power_w for moment in timeline.moments):
        return "This device does not say what it draws."
    whose = "the whole phone draws from its battery" if timeline.power_source == "battery" else "the processor draws"
    return f"Energy is what {whose}, nothing subtracted."
