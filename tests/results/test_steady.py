"""What a timeline says: throttling, the steady state, frames and energy of runs whose course is known."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from android_bench.device import Calls
from android_bench.suites.windows import Windows
from evit_mobile.results.conditions import Conditions
from evit_mobile.results.record import Core, DeviceInfo
from evit_mobile.results.steady import courses, first_throttling
from evit_mobile.results.timeline import Gap, Moment, Timeline, Turn, Window

START = datetime(2026, 11, 26, tzinfo=UTC)
PHONE = DeviceInfo(
    kind="adb", name="adb", soc="SM8150", abi="arm64-v8a", os_build="12", emulated=True,
    cores=(Core(index=0, max_clock_khz=1_785_600), Core(index=7, max_clock_khz=2_841_600)),
)  # fmt: skip


def _state(at_s: float, **values: object) -> Conditions:
    return Conditions.model_validate({"at": START + timedelta(seconds=at_s), **values})


def _windows(medians_us: list[float], start_s: float = 0.0) -> tuple[Window, ...]:
    return tuple(
        Window(at_s=start_s + index, calls=50, p10_us=value, median_us=value, p90_us=value, max_us=value)
        for index, value in enumerate(medians_us)
    )


def _noisy(level_us: float, count: int) -> list[float]:
    return list(level_us * (1 + 0.01 * np.random.default_rng(int(level_us)).standard_normal(count)))


def test_the_steady_state_begins_after_the_rise() -> None:
    """600 s: 10 ms for two minutes, 16 ms from then on; the second half is steady, the whole is not."""
    windows = _windows(_noisy(10_000, 120) + _noisy(16_000, 480))
    [course] = courses(Timeline(duration_s=600, window_s=1, turns=(Turn(point="m", at_s=0, windows=windows),)))
    assert course.first is not None and course.steady is not None and course.steady_to_first is not None
    assert course.first.median == pytest.approx(10_000, rel=0.01)
    assert course.steady.median == pytest.approx(16_000, rel=0.01) and course.steady_from_s == 150
    interval = course.steady_to_first.interval
    assert interval is not None and interval.low < 1.6 < interval.high and interval.low > 1.5
    assert course.calls == 30_000 and course.frames is None and course.joules is None


def test_what_drifts_to_the_end_has_no_steady_state() -> None:
    windows = _windows(list(np.linspace(10_000, 30_000, 300)))
    [course] = courses(Timeline(duration_s=300, window_s=1, turns=(Turn(point="m", at_s=0, windows=windows),)))
    assert course.first is not None and course.steady is None and course.steady_to_first is None


def test_after_a_gap_the_longest_stretch_counts() -> None:
    turns = (
        Turn(point="m", at_s=0, windows=_windows(_noisy(20_000, 200))),
        Turn(point="m", at_s=201, windows=_windows(_noisy(10_000, 50), 201)),
    )
    [course] = courses(Timeline(duration_s=250, window_s=1, turns=turns, gaps=(Gap(at_s=200.5, lasted_s=60),)))
    assert course.steady is not None and course.steady.median == pytest.approx(20_000, rel=0.01)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"thermal_status": 2}, "thermal status 2"),
        ({"clock_limits_khz": {"7": 1_900_000}}, "core 7 is limited to 1900 of 2842 MHz"),
        ({"clocks_khz": {"0": 1_000_000, "7": 1_800_000}}, "the fastest core runs at 1800 MHz"),
    ],
)
def test_throttling_is_seen_by_each_of_its_signs(values: dict[str, object], words: str) -> None:
    free = {"thermal_status": 0, "clock_limits_khz": {"7": 2_841_600}, "clocks_khz": {"0": 1_785_600, "7": 2_841_600}}
    moments = [Moment(at_s=at, conditions=_state(at, **(free | (values if at >= 400 else {})))) for at in range(600)]
    timeline = Timeline(duration_s=600, window_s=1, moments=tuple(moments))
    throttling = first_throttling(timeline, PHONE)
    assert throttling is not None and throttling.at_s == 400 and words in throttling.reason
    assert first_throttling(timeline.evolve(moments=tuple(moments[:400])), PHONE) is None


def test_between_paced_calls_a_low_clock_is_no_throttling() -> None:
    moments = [
        Moment(at_s=at, conditions=_state(at, clocks_khz={"7": 2_841_600 if at < 60 else 800_000})) for at in range(600)
    ]
    timeline = Timeline(duration_s=600, window_s=1, period_us=33_000, moments=tuple(moments))
    assert first_throttling(timeline, PHONE) is None


def test_energy_of_a_call_is_power_over_its_rate() -> None:
    """50 calls a second at 4 W: 80 mJ each."""
    moments = tuple(Moment(at_s=at, conditions=_state(at), power_w=4.0) for at in range(1, 301))
    turn = Turn(point="m", at_s=0, windows=_windows(_noisy(10_000, 300)))
    timeline = Timeline(duration_s=300, window_s=1, power_source="battery", turns=(turn,), moments=moments)
    [course] = courses(timeline)
    assert course.joules is not None and course.joules.median == pytest.approx(0.08)
    assert course.joules.interval is not None and 0.08 == pytest.approx(course.joules.interval.low)


def test_frames_are_late_or_dropped_as_their_calls_were() -> None:
    """At 10 ms: frame 1 takes 12 ms, so 2 begins late and is in time; 4 takes 35 ms, so 5 and 6 are dropped and 7
    begins late.
    """
    ms = [(0, 5), (10, 12), (22, 5), (30, 5), (40, 35), (75, 4), (80, 5)]
    start_ns, duration_ns = (np.array([pair[part] for pair in ms], np.int64) * 1_000_000 for part in (0, 1))
    for cut in range(len(ms) + 1):  # whatever is looked at when
        windows = Windows(0.0, 0.02, 10_000_000)
        for part in (slice(None, cut), slice(cut, None)):
            windows.add(Calls(start_ns[part], duration_ns[part], _state(0), 0))
        windows.finish()
        turn = Turn(point="m", at_s=0, windows=windows.closed)
        [course] = courses(Timeline(duration_s=0.1, window_s=0.02, period_us=10_000, turns=(turn,)))
        assert course.frames is not None
        assert (course.frames.due, course.frames.late, course.frames.dropped) == (9, 2, 2)
