"""Sweeps over settings, and going on with one that was interrupted."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

import pytest

from android_bench.device import UnusableDeviceError
from android_bench.suites.resume import resume, sweep
from android_bench.suites.rounds import Candidate
from evit_mobile.errors import DeviceError, RequestError
from evit_mobile.results.files import load, save
from evit_mobile.results.judge.compare import Status, compare
from evit_mobile.results.record import (
    Component,
    Conditions,
    Core,
    DeviceInfo,
    OpTime,
    Point,
    ResultSet,
    Round,
    RunSettings,
)
from evit_mobile.results.summary import rows

SETTINGS = [RunSettings(threads=threads, rounds=2) for threads in (1, 2)]
INFO = DeviceInfo(
    kind="adb", name="adb:a", soc="s", abi="arm64-v8a", cores=(Core(index=0),), os_build="b", emulated=True
)
COMPONENTS = (Component(name="adb", version="36"),)


class Failing:
    """A device that is pulled after so many runs, and takes its threads' number of microseconds for each."""

    profiles = False

    def __init__(self, lasts: int = 1000) -> None:
        self.left, self.log = lasts, list[tuple[str, int]]()

    def describe(self) -> DeviceInfo:
        return INFO

    def components(self) -> tuple[Component, ...]:
        return COMPONENTS

    def conditions(self) -> Conditions:
        return Conditions(at=datetime.now(UTC))

    @contextlib.contextmanager
    def prepare(self, models: Sequence[Path], settings: RunSettings) -> Iterator[Self]:
        self.threads = settings.threads
        yield self

    def run(self, model: Path) -> Round:
        if not self.left:
            raise UnusableDeviceError("the cable was pulled")
        self.left -= 1
        self.log.append((model.stem, self.threads))
        return Round(latency_us=(float(self.threads),))


class Profiling(Failing):
    profiles = True

    def profile(self, model: Path) -> tuple[OpTime, ...]:
        return (OpTime(op="CONV_2D", name=model.stem, mean_us=1.0, calls=1),)


@pytest.fixture
def candidates(tmp_path: Path) -> list[Candidate]:
    models = []
    for name in "ab":
        path = tmp_path / f"{name}.tflite"
        path.write_bytes(name.encode())
        models.append(Candidate(name, path))
    return models


def keys(points: Sequence[Point]) -> list[tuple[str, int, int]]:
    return [(point.name, point.settings.threads, len(point.rounds)) for point in points]


WHOLE = [("a", 1, 2), ("b", 1, 2), ("a", 2, 2), ("b", 2, 2)]


def test_one_setting_after_the_other(candidates: list[Candidate]) -> None:
    device = Failing()
    *_, points = sweep(device, candidates, SETTINGS)
    assert keys(points) == WHOLE
    assert device.log == [("a", 1), ("b", 1), ("b", 1), ("a", 1), ("a", 2), ("b", 2), ("b", 2), ("a", 2)]


@pytest.mark.parametrize("lasts", range(8))
def test_goes_on_wherever_it_stopped(candidates: list[Candidate], lasts: int) -> None:
    device, points = Failing(lasts), tuple[Point, ...]()
    with pytest.raises(UnusableDeviceError):
        for points in sweep(device, candidates, SETTINGS):
            pass
    again = Failing()
    *_, whole = sweep(again, candidates, SETTINGS, points)
    assert keys(whole) == WHOLE
    assert len(again.log) == 8 - lasts
    for old in points:
        [new] = [point for point in whole if (point.name, point.settings) == (old.name, old.settings)]
        assert new.rounds[: len(old.rounds)] == old.rounds


def test_nothing_is_lost_when_it_is_interrupted_again(candidates: list[Candidate]) -> None:
    *_, points = sweep(Failing(), candidates, SETTINGS)
    damaged = tuple(point.evolve(rounds=point.rounds[:1]) if point == points[0] else point for point in points)
    for step in sweep(Failing(), candidates, SETTINGS, damaged):
        assert {(point.name, point.settings.threads) for point in step} == {
            (name, threads) for name, threads, _ in WHOLE
        }


def test_a_model_that_changed(candidates: list[Candidate]) -> None:
    *_, points = sweep(Failing(), candidates, SETTINGS)
    candidates[1].path.write_bytes(b"another")
    with pytest.raises(RequestError, match="the model b has changed"):
        list(sweep(Failing(), candidates, SETTINGS, points))


def test_another_device_or_program(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    results = ResultSet(created=datetime.now(UTC), command=("bench",), components=COMPONENTS, device=INFO)
    save(results, path)
    # A phone on the network has another address each day.
    assert resume(path, INFO.model_copy(update={"name": "adb:b", "serial": "b"}), COMPONENTS) == results
    with pytest.raises(RequestError, match=r"a different device \(soc differs\)"):
        resume(path, INFO.model_copy(update={"soc": "t"}), COMPONENTS)
    with pytest.raises(RequestError, match="a different adb"):
        resume(path, INFO, (Component(name="adb", version="29"),))


def test_profile(candidates: list[Candidate]) -> None:
    *_, points = sweep(Profiling(), candidates, SETTINGS, profile=True)
    assert [point.profile[0].name for point in points] == ["a", "b", "a", "b"]
    with pytest.raises(RequestError, match="no op profile"):
        list(sweep(Failing(), candidates, SETTINGS, profile=True))


class Unprofiled(Failing):
    profiles = True

    def profile(self, model: Path) -> tuple[OpTime, ...]:
        raise DeviceError("this build has no profiler")


def test_a_profiler_that_fails_does_not_make_the_measurement_a_failure(
    candidates: list[Candidate], tmp_path: Path
) -> None:
    *_, points = sweep(Unprofiled(), candidates, SETTINGS[:1], profile=True)
    assert all(point.is_complete and point.error is None for point in points)
    assert [point.profile_error for point in points] == ["this build has no profiler"] * 2
    assert any("no op profile: this build has no profiler" in row.warnings for row in rows(points))
    results = ResultSet(created=datetime.now(UTC), command=("bench",), components=COMPONENTS, device=INFO)
    save(results.with_points(points), tmp_path / "r.json")
    assert load(tmp_path / "r.json").points == points
    comparison = compare(results.with_points(points), results.with_points(points))
    assert not any(difference.status is Status.FAILED_AFTER for difference in comparison.differences)
    # The next run tries again.
    *_, again = sweep(Profiling(), candidates, SETTINGS[:1], points, profile=True)
    assert all(point.profile and point.profile_error is None for point in again)


def test_threads_that_do_not_help_are_told(candidates: list[Candidate]) -> None:
    *_, points = sweep(Failing(), candidates[:1], SETTINGS)
    table = rows(points)
    assert [row.label for row in table] == ["a, 1 thread", "a, 2 threads"]
    assert "2 threads are no faster than one" in table[1].warnings
    assert table[1].ratio is None
