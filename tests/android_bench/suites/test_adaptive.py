"""The passes of a suite on a device whose every round is known: order, pairs, precision, time, limits, going on."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from android_bench.device import LimitError, UnusableDeviceError
from android_bench.suites.adaptive import Lineup, State, measure_suite
from android_bench.suites.rounds import Candidate
from android_bench.suites.schema import Measure
from evit_mobile.results.conditions import Conditions
from evit_mobile.results.record import Component, Core, DeviceInfo, Point, Round, RunSettings

SETTINGS = RunSettings(rounds=6)
PLAN = Measure(rounds=6, most_rounds=10, interval_percent=4.0)


class Scripted:
    """Gives each model's rounds from a list; what is no number is raised. ``log`` has the order, ``prepared`` what was
    prepared.
    """

    profiles = False

    def __init__(self, rounds: dict[str, list[float | Exception]], counts: bool = False) -> None:
        self.rounds, self.counts = rounds, counts
        self.log, self.prepared = list[str](), list[list[str]]()

    def describe(self) -> DeviceInfo:
        return DeviceInfo(
            kind="adb", name="adb:a", soc="s", abi="a", cores=(Core(index=0),), os_build="b", emulated=True
        )

    def components(self) -> tuple[Component, ...]:
        return ()

    def conditions(self) -> Conditions:
        return Conditions(at=datetime.now(UTC))

    @contextlib.contextmanager
    def prepare(self, models: Sequence[Path], settings: RunSettings) -> Iterator[Scripted]:
        self.prepared.append([model.stem for model in models])
        yield self

    def run(self, model: Path) -> Round:
        self.log.append(model.stem)
        script = self.rounds.get(model.stem)
        value = script.pop(0) if script else 100.0
        if isinstance(value, Exception):
            raise value
        return Round(instructions=(int(value),)) if self.counts else Round(latency_us=(value,))


@pytest.fixture
def models(tmp_path: Path) -> list[Candidate]:
    candidates = []
    for name in ("reference", "a", "b", "c", "d"):
        path = tmp_path / f"{name}.tflite"
        path.write_bytes(name.encode())
        candidates.append(Candidate(name, path))
    return candidates


def _lineup(models: list[Candidate], before: Sequence[Point] = ()) -> Lineup:
    return Lineup(models[1:], models[0], before)


def _run(device: Scripted, models: list[Candidate], budget_s: float = 60.0) -> State:
    *_, last = measure_suite(device, _lineup(models), SETTINGS, PLAN, budget_s=budget_s)
    return last


def test_every_pass_has_the_reference_and_every_point_once_in_an_order_of_its_own(models: list[Candidate]) -> None:
    device = Scripted({})
    last = _run(device, models)
    passes = [device.log[start : start + 5] for start in range(0, len(device.log), 5)]
    assert len(passes) == 6 and all(
        turn[0] == "reference" and sorted(turn[1:]) == ["a", "b", "c", "d"] for turn in passes
    )
    assert len({tuple(turn) for turn in passes}) > 1
    assert last.done == 4 and last.reference is not None and len(last.reference.rounds) == 6 and last.left_s == 0
    again = Scripted({})
    _run(again, models)
    assert again.log == device.log


def test_what_is_not_precise_goes_on_and_what_is_stops(models: list[Candidate]) -> None:
    device = Scripted({"b": [100.0, 120, 90, 115, 95, 105] + [100.0] * 20, "c": [100.0, 150.0] * 20})
    last = _run(device, models)
    rounds = {point.name: len(point.rounds) for point in last.points}
    assert rounds["a"] == rounds["d"] == 6 and rounds["c"] == PLAN.most_rounds and 6 < rounds["b"] <= PLAN.most_rounds
    assert last.reference is not None and len(last.reference.rounds) == PLAN.most_rounds


def test_counts_are_taken_no_more_often_than_asked(models: list[Candidate]) -> None:
    device = Scripted({"c": [100.0, 150.0] * 20}, counts=True)
    last = _run(device, models)
    assert {len(point.rounds) for point in last.points} == {6} and device.log.count("reference") == 6


def test_a_limit_is_a_result_and_the_others_go_on(models: list[Candidate]) -> None:
    device = Scripted({"b": [LimitError("does not fit", "needs 14 GB")], "c": [100.0, LimitError("timed out", "60 s")]})
    last = _run(device, models)
    by_name = {point.name: point for point in last.points}
    assert (by_name["b"].limit, by_name["b"].error, by_name["b"].rounds) == ("does not fit", "needs 14 GB", ())
    assert by_name["c"].limit == "timed out" and len(by_name["c"].rounds) == 1
    assert last.done == 4 and device.log.count("b") == 1 and len(by_name["d"].rounds) == 6


def test_a_spent_budget_ends_it(models: list[Candidate]) -> None:
    device = Scripted({})
    last = _run(device, models, budget_s=0.0)
    assert device.log == [] and last.done == 0


def test_it_can_be_stopped_after_a_round(models: list[Candidate]) -> None:
    device, stop = Scripted({}), threading.Event()
    for number, _ in enumerate(measure_suite(device, _lineup(models), SETTINGS, PLAN, budget_s=60, stop=stop)):
        if number == 3:
            stop.set()
    assert len(device.log) == 3


def test_going_on_measures_what_is_missing_and_no_more(models: list[Candidate]) -> None:
    pulled = Scripted({"a": [100.0, 100.0, UnusableDeviceError("the cable was pulled")]})
    last = None
    with pytest.raises(UnusableDeviceError):
        for last in measure_suite(pulled, _lineup(models), SETTINGS, PLAN, budget_s=60):
            pass
    assert last is not None and last.reference is not None
    before = sum(len(point.rounds) for point in (*last.points, last.reference))
    rest = Scripted({})
    *_, ended = measure_suite(rest, _lineup(models, [*last.points, last.reference]), SETTINGS, PLAN, budget_s=60)
    assert before + len(rest.log) == 5 * 6 and {len(point.rounds) for point in ended.points} == {6}
    # What is whole is neither prepared nor measured again.
    whole = Scripted({})
    *_, still = measure_suite(whole, _lineup(models, ended.points), SETTINGS, PLAN, budget_s=60)
    assert whole.log == [] and whole.prepared == [] and still.done == 4
