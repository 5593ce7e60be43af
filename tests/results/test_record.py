"""The result file: what it holds, what it refuses, and that it is whole."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from evit_mobile.errors import RequestError
from evit_mobile.results.files import file_name, load, save
from evit_mobile.results.record import (
    SCHEMA_VERSION,
    Component,
    Conditions,
    Core,
    DeviceInfo,
    Point,
    PrintedLatency,
    ResultSet,
    Round,
    RunSettings,
)

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
HOST = DeviceInfo(
    kind="host", name="host", soc="CPU", abi="x86_64", cores=(Core(index=0),), os_build="Linux", emulated=False
)
PHONE = DeviceInfo(
    kind="adb",
    name="adb:1234",
    serial="1234",
    soc="SM8150",
    abi="arm64-v8a",
    cores=(Core(index=7, max_clock_khz=2_841_600),),
    os_build="Android 10",
    emulated=False,
)
QEMU = DeviceInfo(
    kind="qemu",
    name="qemu:cortex-a76",
    soc="Cortex-A76",
    abi="arm64",
    cores=(Core(index=0),),
    os_build="",
    emulated=True,
)
TIMED = Round(
    latency_us=(10.5, 11.0),
    init_us=3.0,
    first_inference_us=20.0,
    warmup_us=(12.0,),
    peak_memory_bytes=0,
    cores_mask="0xf0",
    before=Conditions(
        at=NOW, load_average_1min=0.5, clocks_khz={"7": 2_841_600}, temperatures_celsius={"cpu": 40.5}, thermal_status=0
    ),
    after=Conditions(at=NOW, battery_percent=81.0),
)
PRINTED = Round(printed_latency=PrintedLatency(count=50, mean_us=7100.5, std_us=0))
COUNTED = Round(instructions=(182_700_000, 182_700_010))


def _point(*rounds: Round, name: str = "m", **more: Any) -> Point:
    return Point(name=name, model_sha256="0" * 64, model_bytes=1, settings=RunSettings(), rounds=rounds, **more)


def _results(device: DeviceInfo, *points: Point) -> ResultSet:
    return ResultSet(
        created=NOW,
        command=("evit-mobile", "bench"),
        components=(Component(name="t", version="1"),),
        device=device,
        points=points,
    )


@pytest.mark.parametrize(
    "results",
    [
        _results(HOST),
        _results(
            HOST,
            _point(TIMED, TIMED, resolution="704x1408", precision="fp32", ops=3, partitions=0),
            _point(name="b", error="no"),
        ),
        _results(PHONE, _point(PRINTED), _point(TIMED, name="b")),
        _results(QEMU, _point(COUNTED)),
    ],
)
def test_what_is_saved_is_what_is_loaded(results: ResultSet, tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    save(results, path)
    assert load(path) == results
    assert json.loads(path.read_text())["schema_version"] == 3 < SCHEMA_VERSION
    assert [entry.name for entry in tmp_path.iterdir()] == ["r.json"]


def test_one_point_may_be_measured_under_several_settings() -> None:
    other = _point(TIMED).evolve(settings=RunSettings(threads=4))
    assert len(_results(PHONE, _point(TIMED), other).points) == 2
    with pytest.raises(ValidationError, match="same name and settings"):
        _results(PHONE, _point(TIMED), _point(PRINTED))


def test_evolve_replaces_fields_and_validates() -> None:
    point = _point(TIMED)
    assert point.evolve(name="other") == _point(TIMED).model_copy(update={"name": "other"})
    for changes in ({"nmae": "other"}, {"name": ""}, {"model_sha256": None}):
        with pytest.raises(ValidationError):
            point.evolve(**changes)


def test_qemu_has_instructions_and_never_a_latency() -> None:
    for refused in (_point(TIMED), _point(PRINTED)):
        with pytest.raises(ValidationError, match="qemu"):
            _results(QEMU, refused)
    with pytest.raises(ValidationError, match="same quantity"):
        _point(COUNTED, TIMED)
    with pytest.raises(ValidationError, match="qemu"):
        _results(QEMU).with_points((_point(TIMED),))
    with pytest.raises(ValidationError, match="qemu"):
        _results(QEMU.evolve(emulated=False), _point(COUNTED))
    with pytest.raises(ValidationError, match="no measured times"):
        Round(instructions=(1,), init_us=5.0)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"latency_us": ()},
        {"latency_us": (1.0,), "instructions": (1,)},
        {"latency_us": (0.0,)},
        {"latency_us": (-1.0,)},
        {"latency_us": (float("nan"),)},
        {"latency_us": (float("inf"),)},
        {"latency_us": (1.0,), "latency_ms": 1.0},
        {"latency_us": (1.0,), "cores_mask": "f0"},
        {"latency_us": (1e300,)},
        {"latency_us": (5e-324,)},
        {"instructions": (10**400,)},
        {"latency_us": (1.0,), "peak_memory_bytes": 10**400},
    ],
)
def test_a_round_holds_one_sound_measurement(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Round(**fields)


def test_values_of_printed_aggregates_are_their_centre() -> None:
    assert PRINTED.values == (7100.5,)
    assert Round(printed_latency=PrintedLatency(count=5, mean_us=9.0, median_us=8.0)).values == (8.0,)
    assert (TIMED.quantity, PRINTED.quantity, COUNTED.quantity) == ("latency_us", "latency_us", "instructions")


def test_a_file_cut_anywhere_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    save(_results(HOST, _point(TIMED)), path)
    whole = path.read_bytes().rstrip()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(RequestError) as caught:
            load(path)
        assert str(path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe\x00", "not JSON"),
        (b"<html>", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "schema_version"),
        (b"{}", "schema_version"),
        (b'{"schema_version": "one"}', "schema_version"),
        (b'{"schema_version": 6}', "newer"),
        (b'{"schema_version": 0}', "schema_version"),
        (b'{"schema_version": 1}', "Field required"),
    ],
)
def test_what_is_no_result_file(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    path.write_bytes(content)
    with pytest.raises(RequestError, match=message):
        load(path)


def test_an_unknown_field_is_refused_and_named(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    save(_results(HOST, _point(TIMED)), path)
    document = json.loads(path.read_text())
    document["points"][0]["rounds"][0]["latency_ms"] = 3
    path.write_text(json.dumps(document))
    with pytest.raises(RequestError, match=r"points\.0\.rounds\.0\.latency_ms"):
        load(path)


def test_paths_that_cannot_be_read(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.json", tmp_path):
        with pytest.raises(RequestError, match="cannot be read"):
            load(path)


def test_file_names_are_safe() -> None:
    assert file_name("host", NOW) == "host-20260102T030405Z.json"
    assert file_name("adb:10.0.0.1:5555", NOW) == "adb-10.0.0.1-5555-20260102T030405Z.json"
    assert "/" not in file_name("../../etc/passwd", NOW) and not file_name("../<b>", NOW).startswith(".")
