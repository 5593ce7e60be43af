"""A suite on a virtual phone: killed, gone on with, reported; and judged as what it is, an emulated device."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from android_bench.emulator.root import EmulatorRoot
from evit_mobile.results.files import load
from evit_mobile.results.record import ResultSet
from tests.adb.conftest import Ended
from tests.adb.test_interrupted import await_that
from tests.virtual_device.phone import VirtualPhone


def _rounds(results: ResultSet) -> int:
    return sum(len(point.rounds) for point in (*results.points, *results.references))


@pytest.mark.slow  # two commands that convert, and then run an emulated program twenty times
@pytest.mark.timeout(900)
def test_smoke_is_killed_gone_on_with_and_reported(
    phone: VirtualPhone, evit: Callable[..., Ended], system: EmulatorRoot, tmp_path: Path
) -> None:
    out = tmp_path / "smoke.json"
    arguments = [
        "bench",
        "--suite",
        "smoke",
        "--device",
        f"adb:{phone.serial}",
        "--benchmark-binary",
        str(system.runner),
    ]
    arguments += ["--threads", "1", "--rounds", "2", "--runs", "2", "--budget", "240", "--out", str(out)]
    command = [sys.executable, "-m", "evit_mobile.cli.main", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    await_that(lambda: out.exists() and _rounds(load(out)) >= 3, process)
    process.kill()
    process.communicate()
    before = load(out)
    ended = evit(*arguments, "--resume", "--json")
    assert ended.code == 0, ended.err
    after = load(out)
    assert len(after.points) == 4 and all(len(point.rounds) >= 2 for point in after.points) and after.device.emulated
    for old, new in zip((*before.points, *before.references), (*after.points, *after.references)):
        assert new.rounds[: len(old.rounds)] == old.rounds
    [document] = json.loads(ended.out)["results"]
    [verdict] = document["verdicts"]
    assert verdict["claim"] == "figure-2-left" and verdict["outcome"] in (
        "same direction",
        "opposite",
        "not comparable",
    )
    assert any(text.startswith("Emulated") for text in verdict["caveats"])
    page = tmp_path / "report.html"
    assert evit("report", out, "--out", page).code == 0
    assert "Emulated" in page.read_text()


def test_two_devices_at_once_have_a_file_each(
    phone: VirtualPhone, evit: Callable[..., Ended], system: EmulatorRoot, tmp_path: Path
) -> None:
    devices = ["--device", f"adb:{phone.serial}", "--device", "host", "--benchmark-binary", system.runner]
    limits = ["--up-to", 196, "--threads", 1, "--rounds", 1, "--runs", 1, "--budget", 30]
    ended = evit("bench", "--suite", "smoke", *devices, *limits, "--out", tmp_path / "both")
    assert ended.code == 0, ended.err
    kinds = {load(path).device.kind: load(path) for path in sorted((tmp_path / "both").glob("smoke-*.json"))}
    assert set(kinds) == {"adb", "host"}
    assert all(point.rounds for results in kinds.values() for point in results.points)
