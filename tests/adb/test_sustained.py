"""Sustained and paced runs on a phone that warms up, throttles and cools, through real adb."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from android_bench.emulator.root import EmulatorRoot
from android_bench.phone.battery import drawn_w
from evit_mobile.results.files import load
from evit_mobile.results.steady import courses, first_throttling, throttled_spans
from evit_mobile.results.timeline import Timeline
from tests.adb.conftest import Ended
from tests.adb.events import programs, soon
from tests.virtual_device.heat import FULL_W, PLAYER, Course
from tests.virtual_device.phone import VirtualPhone

Evit = Callable[..., Ended]
#: A run of seconds: its looks are as close as looks come, and its heat is a hundred times as fast as the long run's.
SHORT_S, SHORT_LOOK_NS, SHORT_TAU_S = 6.0, 200_000_000, 2.6
#: The long run, with fewer looks than by default: each takes a second on an emulated phone.
LONG_S, LONG_LOOKS = 600.0, 40
SHORT = ("--sustained", f"{SHORT_S:g}s")
LONG_LOOK_NS = round(LONG_S / LONG_LOOKS * 1e9)


@pytest.fixture(scope="session")
def player(compiled: Callable[..., Path]) -> Path:
    return compiled(PLAYER)


def _timeline(path: Path) -> Timeline:
    timeline = load(path).timeline
    assert timeline is not None
    return timeline


def _arguments(phone: VirtualPhone, program: Path, out: Path, *more: object) -> list[object]:
    return ["bench", "--device", f"adb:{phone.serial}", "--benchmark-binary", program, "--out", out, *more]


def test_our_own_runner_logs_each_call(
    phone: VirtualPhone, evit: Evit, system: EmulatorRoot, tiny_tflite: Path, tmp_path: Path
) -> None:
    """In real time, on LiteRT for arm64."""
    out = tmp_path / "r.json"
    ended = evit(*_arguments(phone, system.runner, out, tiny_tflite, "--sustained", "2s"))
    assert ended.code == 0, ended.err
    timeline = _timeline(out)
    [turn] = timeline.turns
    assert timeline.is_complete and turn.init_us and turn.first_inference_us and len(turn.warmup_us) == 3
    assert turn.cores_mask and all(moment.conditions.clocks_khz for moment in timeline.moments)
    assert "does not say what it draws" in ended.out and not programs(phone)
    ended = evit(
        *_arguments(phone, system.runner, out, tiny_tflite, "--every", "100ms", "--sustained", "2s", "--force")
    )
    assert ended.code == 0, ended.err
    [course] = courses(_timeline(out))
    assert course.frames is not None and 0 < course.calls <= 20 and course.frames.due <= 20


def test_throttling_is_found_at_the_minute_of_the_model(
    phone: VirtualPhone,
    evit: Evit,
    player: Path,
    tiny_tflite: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("android_bench.suites.sustained.LOOKS", LONG_LOOKS)
    heat = Course(call_ns=250_000_000, look_ns=LONG_LOOK_NS)
    heat.install(phone.root, phone.profile, LONG_S)
    out = tmp_path / "r.json"
    ended = evit(*_arguments(phone, player, out, tiny_tflite, "--sustained", "10m"))
    assert ended.code == 0, ended.err
    results, timeline = load(out), _timeline(out)
    began_s = timeline.turns[0].at_s
    hot_s, cool_s = (began_s + at_s for at_s in heat.throttled_s(LONG_S))
    assert 3.5 * 60 < hot_s < 4.5 * 60 and cool_s < LONG_S
    # A look is at the end of the first call that goes beyond the time for it.
    look_s = LONG_LOOK_NS / 1e9 + 0.5
    found = first_throttling(timeline, results.device)
    assert found is not None and hot_s <= found.at_s <= hot_s + look_s
    assert f"First throttled after {found.at_s / 60:.1f} min" in ended.out
    # It cools at the lower clock, and throttles no more.
    [(start_s, end_s)] = throttled_spans(timeline, results.device)
    assert start_s == found.at_s and cool_s <= end_s <= cool_s + look_s
    calls = [(start, taken) for start, taken, _ in heat.calls(LONG_S)]
    [course] = courses(timeline)
    assert timeline.is_complete and course.calls == len(calls)
    assert len(timeline.moments) == pytest.approx(LONG_LOOKS, abs=2)
    assert timeline.power_source == "battery" and timeline.moments[0].power_w == pytest.approx(FULL_W, rel=1e-3)
    joules = course.joules
    assert joules is not None and joules.interval is not None
    # Of a call at either clock, a seventh of them a tenth longer.
    assert 0.6 * FULL_W * 0.25 * 0.99 < joules.median < FULL_W * 0.25 * 1.05
    # The latency is the model's, window by window.
    for window in timeline.turns[0].windows[:: len(timeline.turns[0].windows) // 10]:
        inside = [taken for start, taken in calls if window.at_s <= start / 1e9 + timeline.turns[0].at_s]
        assert window.max_us == pytest.approx(max(inside[: window.calls]) / 1e3, rel=1e-6)


@pytest.mark.parametrize(("period_ms", "start_c"), [(33, 53.0), (20, 31.0)])
def test_late_and_dropped_frames_are_counted_exactly(
    phone: VirtualPhone,
    evit: Evit,
    player: Path,
    tiny_tflite: Path,
    tmp_path: Path,
    period_ms: int,
    start_c: float,
) -> None:
    """At 33 ms in time until the phone throttles; at 20 ms a call takes longer than its frame from the beginning."""
    period_ns = period_ms * 1_000_000
    heat = Course(22_000_000, SHORT_LOOK_NS, SHORT_TAU_S, start_c, period_ns)
    heat.install(phone.root, phone.profile, SHORT_S)
    out = tmp_path / "r.json"
    ended = evit(*_arguments(phone, player, out, tiny_tflite, "--every", f"{period_ms}ms", *SHORT, "--json"))
    assert ended.code == 0, ended.err
    # Frame by frame: who took it, and was its call over when the next one was due?
    taken = {start // period_ns: start + duration for start, duration, _ in heat.calls(SHORT_S)}
    late = sum(end > (frame + 1) * period_ns for frame, end in taken.items())
    dropped = sum(frame not in taken for frame in range(max(taken)))
    [point] = json.loads(ended.out)["points"]
    assert point["frames"] == {
        "due": len(taken) + dropped, "late": late, "dropped": dropped, "missed": late + dropped,
    }  # fmt: skip
    assert 0 < late and (late < len(taken)) == (period_ms == 33)


def test_killed_and_resumed_it_has_a_marked_gap(
    phone: VirtualPhone, evit: Evit, player: Path, tiny_tflite: Path, tmp_path: Path
) -> None:
    Course(25_000_000, SHORT_LOOK_NS, SHORT_TAU_S).install(phone.root, phone.profile, SHORT_S)
    out = tmp_path / "r.json"
    arguments = list(map(str, _arguments(phone, player, out, tiny_tflite, *SHORT, "--resume")))
    command = [sys.executable, "-m", "evit_mobile.cli.main", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    while not out.exists() or len(_timeline(out).moments) < 5:
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.kill()
    process.communicate()
    before = _timeline(out)
    ended = evit(*arguments)
    assert ended.code == 0, ended.err
    after = _timeline(out)
    [gap] = after.gaps
    assert gap.at_s == before.end_s and after.is_complete and "Interrupted after" in ended.out
    assert after.moments[: len(before.moments)] == before.moments and after.turns[0] == before.turns[0]
    assert len(after.turns) == 2 and after.turns[1].at_s >= gap.at_s
    # Nothing is missing but at the gap: windows follow one another.
    for turn in after.turns:
        starts = [window.at_s for window in turn.windows]
        assert all(later - sooner < 2.5 * after.window_s for sooner, later in zip(starts, starts[1:]))
    assert not programs(phone)


def test_several_models_share_the_heat_in_turns(
    phone: VirtualPhone,
    evit: Evit,
    player: Path,
    tiny: Callable[[int], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("android_bench.suites.sustained.TURNS", 2)
    Course(25_000_000, SHORT_LOOK_NS, SHORT_TAU_S).install(phone.root, phone.profile, SHORT_S)
    out, models = tmp_path / "r.json", [tiny(8), tiny(12)]
    ended = evit(*_arguments(phone, player, out, *models, *SHORT))
    assert ended.code == 0, ended.err
    first, second = (model.stem for model in models)
    names = [turn.point for turn in _timeline(out).turns]
    # Loading takes its time of the run, too, so that a slow machine has fewer turns.
    assert names == [first, second, second, first][: len(names)] and len(names) > 1
    assert "The models took turns" in ended.out


def test_a_program_without_a_log_is_refused(
    phone: VirtualPhone, evit: Evit, replaying: Callable[..., Path], tiny_tflite: Path, tmp_path: Path
) -> None:
    """The official one ends well, and has said nothing of single calls."""
    out = tmp_path / "r.json"
    ended = evit(*_arguments(phone, replaying("01_default_m1"), out, tiny_tflite, "--sustained", "2s"))
    assert ended.code == 3 and "keeps no log of its calls" in ended.err


def test_a_cable_that_is_pulled_ends_the_run_and_what_was_measured_stays(
    phone: VirtualPhone, evit: Evit, player: Path, tiny_tflite: Path, tmp_path: Path
) -> None:
    Course(25_000_000, SHORT_LOOK_NS, SHORT_TAU_S).install(phone.root, phone.profile, SHORT_S)
    out = tmp_path / "r.json"
    arguments = _arguments(phone, player, out, tiny_tflite, *SHORT, "--resume", "--reconnect", 1)
    command = [sys.executable, "-m", "evit_mobile.cli.main", *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not out.exists() or len(_timeline(out).moments) < 5:
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    phone.fault(unplugged=True)
    _, err = process.communicate()
    assert process.returncode == 3 and "--resume goes on" in err, err
    assert not _timeline(out).is_complete and len(_timeline(out).moments) >= 5
    phone.fault(unplugged=False)
    ended = evit(*arguments)
    assert ended.code == 0 and len(_timeline(out).gaps) == 1, ended.err
    soon(lambda: not programs(phone))


BATTERY = "/sys/class/power_supply/battery/"


@pytest.mark.parametrize(
    ("status", "current", "voltage", "watts"),
    [
        ("Discharging", "-1128205", "3900000", 4.4),
        ("Discharging", "1128205", "3900000", 4.4),
        ("Charging", "1128205", "3900000", None),
        ("Full", "0", "4300000", None),
        ("Discharging", "0", "3900000", None),
        ("Discharging", "x", "3900000", None),
        ("Discharging", "1" * 500, "3900000", None),
    ],
)
def test_what_the_battery_says(status: str, current: str, voltage: str, watts: float | None) -> None:
    files = {"status": status, "current_now": current, "voltage_now": voltage}
    text = "".join(f"{BATTERY}{name}:{value}\n" for name, value in files.items())
    assert drawn_w(text) == (pytest.approx(watts, rel=1e-5) if watts is not None else None)
    assert drawn_w(text.replace("voltage_now", "voltage_max")) is None


def test_the_model_of_the_heat_warms_throttles_and_cools() -> None:
    """Against the closed form of its equation: when it is hot, and that it is cool in the end."""
    course = Course(call_ns=250_000_000, look_ns=LONG_LOOK_NS)
    assert course.throttled_s(LONG_S)[0] == pytest.approx(-260 * math.log(1 - (55 - 31) / 40), abs=0.3)
    states = [heat for _, _, heat in replace(course, tau_s=60).calls(LONG_S)]
    assert max(heat.celsius for heat in states) < 56 and min(heat.celsius for heat in states[-100:]) > 45
    assert {heat.is_throttled for heat in states} == {False, True}
