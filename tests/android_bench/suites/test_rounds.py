"""The order in which models take turns, and what a failure leaves."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from android_bench.device import open_device
from android_bench.suites.rounds import Candidate, measure
from evit_mobile.errors import DeviceError, RequestError
from evit_mobile.results.conditions import Conditions
from evit_mobile.results.content import Content
from evit_mobile.results.record import Component, DeviceInfo, Point, Round, RunSettings
from evit_mobile.weights import sha256_of

CONTENT = Content(precision="fp32", ops=3, partitions=1, undelegated_ops=0)


class Logbook:
    """A device that only notes what it is asked for; ``fails_at`` is the number of the run that ends in an error."""

    profiles = False

    def __init__(self, fails_at: int | None = None) -> None:
        self.log: list[str] = []
        self.fails_at = fails_at

    def describe(self) -> DeviceInfo:
        raise AssertionError("measure() has no business with this")

    def components(self) -> tuple[Component, ...]:
        raise AssertionError("measure() has no business with this")

    def conditions(self) -> Conditions:
        return Conditions(at=datetime.now(UTC))

    @contextlib.contextmanager
    def prepare(self, models: Sequence[Path], settings: RunSettings) -> Iterator[Logbook]:
        self.log.append("prepare")
        try:
            yield self
        finally:
            self.log.append("put back")

    def run(self, model: Path) -> Round:
        self.log.append(model.stem)
        if self.fails_at is not None and len(self.log) - 1 == self.fails_at:
            raise DeviceError("the cable was pulled")
        return Round(latency_us=(1.0, 2.0))


@pytest.fixture
def candidates(tmp_path: Path) -> list[Candidate]:
    models = []
    for name in "AB":
        path = tmp_path / f"{name}.tflite"
        path.write_bytes(name.encode())
        models.append(Candidate(name, path, "96", CONTENT))
    return models


def _last(steps: Iterator[tuple[Point, ...]]) -> tuple[Point, ...]:
    *_, last = steps
    return last


def test_models_take_turns_there_and_back(candidates: list[Candidate]) -> None:
    device = Logbook()
    points = _last(measure(device, candidates, RunSettings(rounds=4)))
    assert device.log == ["prepare", *"AB", *"BA", *"AB", *"BA", "put back"]
    for point, candidate in zip(points, candidates, strict=True):
        assert point.is_complete and len(point.rounds) == 4
        assert point.model_sha256 == sha256_of(candidate.path)
        assert point.resolution == "96" and Content(**point.model_dump(include=set(Content.model_fields))) == CONTENT
        assert all(entry.before and entry.after and entry.before.at <= entry.after.at for entry in point.rounds)


def test_every_round_is_handed_out_at_once(candidates: list[Candidate]) -> None:
    counts = [
        [len(point.rounds) for point in points] for points in measure(Logbook(), candidates, RunSettings(rounds=2))
    ]
    assert counts == [[1, 0], [1, 1], [1, 2], [2, 2]]


def test_a_failure_keeps_its_rounds_and_stops_no_other(candidates: list[Candidate]) -> None:
    device = Logbook(fails_at=3)  # A, B, then B
    a, b = _last(measure(device, candidates, RunSettings(rounds=3)))
    assert device.log == ["prepare", "A", "B", "B", "A", "A", "put back"]
    assert a.is_complete and len(a.rounds) == 3
    assert not b.is_complete and len(b.rounds) == 1 and b.error == "the cable was pulled"


def test_the_device_is_put_back_when_the_reader_leaves(candidates: list[Candidate]) -> None:
    device = Logbook()
    steps = measure(device, candidates, RunSettings(rounds=3))
    next(steps)
    steps.close()
    assert device.log == ["prepare", "A", "put back"]


def test_on_the_host(small_tflite: Path, dividing_tflite: Path, tmp_path: Path) -> None:
    settings = RunSettings(runs=4, rounds=2, warmup_runs=1, min_time_s=0)
    device = open_device("host")
    good, bad = _last(measure(device, [Candidate("good", small_tflite), Candidate("bad", dividing_tflite)], settings))
    assert good.is_complete and [len(values) for values in good.values] == [2, 2]
    assert bad.error is not None and "does not run" in bad.error and not bad.rounds
    foreign = tmp_path / "foreign.tflite"
    foreign.write_bytes(b"\x89PNG")
    with pytest.raises(RequestError, match="foreign.tflite"):
        next(measure(device, [Candidate("good", small_tflite), Candidate("foreign", foreign)], settings))
