"""Results of sustained and paced runs whose course is known."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from evit_mobile.results.conditions import Conditions
from evit_mobile.results.record import Component, Core, DeviceInfo, Point, ResultSet, RunSettings
from evit_mobile.results.timeline import Gap, Moment, Timeline, Turn, Window

START = datetime(2026, 11, 26, tzinfo=UTC)
PHONE = DeviceInfo(
    kind="adb", name="adb", soc="SM8150", abi="arm64-v8a", os_build="12", emulated=True,
    cores=(Core(index=0, max_clock_khz=1_785_600), Core(index=7, max_clock_khz=2_841_600)),
)  # fmt: skip
#: When the phone of ``hot_phone`` throttles, seconds.
THROTTLED_FROM_S, THROTTLED_TO_S, LASTS_S = 240.0, 480.0, 600.0


def _moment(at_s: float, held_back: bool) -> Moment:
    clocks = {"0": 1_785_600, "7": 1_804_800 if held_back else 2_841_600}
    state = Conditions(
        at=START + timedelta(seconds=at_s),
        clocks_khz=clocks,
        clock_limits_khz=clocks,
        temperatures_celsius={"cpu-0": 31 + at_s / 12 if at_s < 300 else 56.0},
        thermal_status=2 if held_back else 0,
        load_average_1min=1.2,
    )
    return Moment(at_s=at_s, conditions=state, power_w=3.1 if held_back else 4.4)


def hot_phone(period_us: float | None = None, **more: Any) -> ResultSet:
    """Ten minutes of two models in turn on a phone that throttles from the fourth minute to the eighth, interrupted
    after the fifth.
    """
    turns = []
    for number, start_s in enumerate(range(0, int(LASTS_S), 60)):
        name = ("base-r224", "base-r192")[(number + 1) // 2 % 2]
        windows = []
        for step in range(60):
            at_s = float(start_s + step)
            slow = 1.6 if THROTTLED_FROM_S <= at_s < THROTTLED_TO_S else 1.0
            us = slow * (18_000 if name == "base-r224" else 13_000) * (1 + 0.02 * (step % 3))
            paced = {"late": 3 if slow > 1 else 0, "dropped": 1 if slow > 1 else 0} if period_us is not None else {}
            windows.append(
                Window(at_s=at_s, calls=40, p10_us=0.95 * us, median_us=us, p90_us=1.1 * us, max_us=2 * us, **paced)
            )
        turns.append(Turn(point=name, at_s=float(start_s), init_us=9e3, windows=tuple(windows)))
    moments = (
        _moment(float(at_s), THROTTLED_FROM_S <= at_s < THROTTLED_TO_S) for at_s in range(5, int(LASTS_S) + 1, 5)
    )
    timeline = Timeline(
        duration_s=LASTS_S,
        window_s=1,
        period_us=period_us,
        power_source="battery",
        turns=tuple(turns),
        moments=tuple(moments),
        gaps=(Gap(at_s=300, lasted_s=75),),
    )
    points = tuple(
        Point(name=name, model_sha256="0" * 64, model_bytes=9, settings=RunSettings(runs=1, rounds=1, min_time_s=0))
        for name in ("base-r224", "base-r192")
    )
    return ResultSet(
        schema_version=4,
        created=START,
        command=("evit-mobile",),
        components=(Component(name="benchmark_model", version="2.2.0"),),
        device=PHONE,
        points=points,
        timeline=timeline,
    ).evolve(**more)
