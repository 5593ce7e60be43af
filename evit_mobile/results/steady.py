"""What a timeline says of each of its models, and of the device's throttling.

Windows that follow one another share the state of the device, so a stretch of time is cut into blocks, and the block
takes the place of the round: its values are the medians of its windows.
"""

from __future__ import annotations

import bisect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from evit_mobile.results.conditions import FREE_CLOCK
from evit_mobile.results.record import DeviceInfo
from evit_mobile.results.stats import MIN_ROUNDS, Change, Summary, change, drift_of, summarise
from evit_mobile.results.timeline import Moment, Timeline, Turn, Window

#: Blocks of the steady state, and of the first minute.
BLOCKS = 10
#: Seconds of calls that count as the first minute; of a shorter run a fifth.
FIRST_S, FIRST_SHARE = 60.0, 0.2
#: Shares of the longest stretch that may be left out before the steady state.
_HEADS = (0.25, 0.5)


@dataclass(frozen=True)
class Frames:
    """What became of the frames that were due: ``late`` ones took their calls too long, ``dropped`` ones had none."""

    due: int
    late: int
    dropped: int

    @property
    def missed(self) -> int:
        return self.late + self.dropped


@dataclass(frozen=True)
class Course:
    """One model of a timeline. All in microseconds, but for the energy.

    Attributes:
        point: the name of its point.
        turns, calls: how often it had its turn, and was called.
        first: of the first minute of its calls; None without a call.
        steady: of the longest uninterrupted stretch from ``steady_from_s`` of the axis on, over blocks; None where the
            latency still drifts in its second half, or there are too few windows.
        steady_to_first: the ratio of the steady state to the first minute.
        frames: of a paced run.
        joules: what a call in the steady state took, over blocks; None where the device does not say.
    """

    point: str
    turns: int
    calls: int
    first: Summary | None = None
    steady: Summary | None = None
    steady_from_s: float | None = None
    steady_to_first: Change | None = None
    frames: Frames | None = None
    joules: Summary | None = None


@dataclass(frozen=True)
class Throttling:
    """The first look at the device that found it throttled: when, and in which words."""

    at_s: float
    reason: str


def courses(timeline: Timeline) -> list[Course]:
    """One course for each model, in the order of their first turns."""
    names = list(dict.fromkeys(turn.point for turn in timeline.turns))
    return [_course(name, [turn for turn in timeline.turns if turn.point == name], timeline) for name in names]


def first_throttling(timeline: Timeline, device: DeviceInfo) -> Throttling | None:
    """When the device first throttled, by its own word, by a limit on its clocks, or by the clocks themselves.

    The clocks themselves count in a run without pause alone, for between paced calls they fall anyway: the fastest
    core's, against the first minute.
    """
    reasons = zip(timeline.moments, _reasons(timeline, device))
    return next((Throttling(moment.at_s, reason) for moment, reason in reasons if reason is not None), None)


def throttled_spans(timeline: Timeline, device: DeviceInfo) -> list[tuple[float, float]]:
    """From when to when, on the axis, looks at the device found it throttled; a span ends at the first look that did
    not.
    """
    spans: list[tuple[float, float]] = []
    since_s: float | None = None
    for moment, reason in zip(timeline.moments, _reasons(timeline, device)):
        if reason is not None and since_s is None:
            since_s = moment.at_s
        elif reason is None and since_s is not None:
            spans.append((since_s, moment.at_s))
            since_s = None
    return spans if since_s is None else [*spans, (since_s, timeline.end_s)]


def _reasons(timeline: Timeline, device: DeviceInfo) -> list[str | None]:
    """Of each moment, why the device counts as throttled then; None where it does not."""
    limits = {core.index: core.max_clock_khz for core in device.cores}
    first = [_fastest(moment) for moment in timeline.moments if moment.at_s <= _first_s(timeline.duration_s)]
    usual = max(first, default=0)
    paced = timeline.period_us is not None
    return [_reason(moment, limits, 0 if paced else usual) for moment in timeline.moments]


def _reason(moment: Moment, limits: Mapping[int, int | None], usual_khz: int) -> str | None:
    if moment.conditions.is_throttled:
        return f"thermal status {moment.conditions.thermal_status}"
    held_back = moment.conditions.held_back(limits)
    if held_back is not None:
        return held_back
    fastest = _fastest(moment)
    if 0 < fastest < FREE_CLOCK * usual_khz:
        return f"the fastest core runs at {fastest / 1e3:.0f} MHz, in the first minute at {usual_khz / 1e3:.0f} MHz"
    return None


def _fastest(moment: Moment) -> int:
    return max(moment.conditions.clocks_khz.values(), default=0)


def _first_s(duration_s: float) -> float:
    return min(FIRST_S, FIRST_SHARE * duration_s)


def _course(name: str, turns: Sequence[Turn], timeline: Timeline) -> Course:
    windows = [window for turn in turns for window in turn.windows]
    course = Course(name, len(turns), sum(window.calls for window in windows), frames=_frames(windows))
    if not windows:
        return course
    share = len(windows) * timeline.window_s / timeline.duration_s
    first = _blocks(windows[: max(1, round(_first_s(timeline.duration_s) * share / timeline.window_s))], MIN_ROUNDS)
    steady = _steady_windows(_longest_stretch(turns, timeline))
    opening = summarise(_medians(first))
    if not steady:
        return Course(name, course.turns, course.calls, opening, frames=course.frames)
    blocks = _blocks(steady, BLOCKS)
    joules = [_joules(block, timeline) for block in blocks]
    known = [[value] for value in joules if value is not None]
    return Course(
        name,
        course.turns,
        course.calls,
        first=opening,
        steady=summarise(_medians(blocks)),
        steady_from_s=steady[0].at_s,
        steady_to_first=change(_medians(blocks), _medians(first)),
        frames=course.frames,
        joules=summarise(known) if known else None,
    )


def _frames(windows: Sequence[Window]) -> Frames | None:
    late = [window.late for window in windows if window.late is not None]
    dropped = sum(window.dropped or 0 for window in windows)
    if len(late) < len(windows) or not windows:
        return None
    return Frames(sum(window.calls for window in windows) + dropped, sum(late), dropped)


def _longest_stretch(turns: Sequence[Turn], timeline: Timeline) -> list[Window]:
    """The model's windows between two interruptions of the run: after one the device has cooled."""
    cuts = [gap.at_s for gap in timeline.gaps]
    stretches: dict[int, list[Window]] = {}
    for turn in turns:
        stretches.setdefault(bisect.bisect_right(cuts, turn.at_s), []).extend(turn.windows)
    return max(stretches.values(), key=len)


def _steady_windows(windows: Sequence[Window]) -> list[Window]:
    """The windows from which on the latency does not drift; empty where it does up to the end."""
    for head in _HEADS:
        rest = windows[round(head * len(windows)) :]
        if len(rest) >= BLOCKS and drift_of(_medians(_blocks(rest, BLOCKS))) is None:
            return list(rest)
    return []


def _blocks(windows: Sequence[Window], count: int) -> list[list[Window]]:
    """The windows in order as ``count`` blocks of nearly equal length; fewer where there are fewer windows."""
    edges = np.linspace(0, len(windows), min(count, len(windows)) + 1).round().astype(int)
    return [list(windows[start:end]) for start, end in zip(edges, edges[1:])]


def _medians(blocks: Sequence[Sequence[Window]]) -> list[list[float]]:
    return [[window.median_us for window in block] for block in blocks]


def _joules(block: Sequence[Window], timeline: Timeline) -> float | None:
    """Energy of a call: the power that was drawn while the block's windows lasted."""
    start_s, end_s = block[0].at_s, block[-1].at_s + timeline.window_s
    # A look's power is that of the time before it.
    times = [moment.at_s for moment in timeline.moments]
    drawn = [
        moment.power_w
        for moment in timeline.moments[bisect.bisect_left(times, start_s) : bisect.bisect_left(times, end_s) + 1]
        if moment.power_w is not None
    ]
    if not drawn:
        return None
    return float(np.mean(drawn)) * len(block) * timeline.window_s / sum(window.calls for window in block)
