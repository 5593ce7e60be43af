"""Our own end in the middle of things: Ctrl-C, kill -9, a full disk, a second process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from android_bench.emulator.root import EmulatorRoot
from evit_mobile.results.files import load
from tests.adb.conftest import AdbLane, Ended
from tests.virtual_device.phone import VirtualPhone

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(adb_lane: AdbLane, system: EmulatorRoot, tmp_path: Path) -> Start:
    """Begin a bench in a process of its own."""

    def begin(phone: VirtualPhone, *arguments: object, before: tuple[str, ...] = ()) -> subprocess.Popen[str]:
        command = [*before, sys.executable, "-m", "evit_mobile.cli.main", "bench", "--device", f"adb:{phone.serial}"]
        command += ["--benchmark-binary", str(system.runner), *map(str, arguments)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    return begin


def await_that(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    while not condition():
        assert process.poll() is None, process.communicate()
        time.sleep(0.0005)


@pytest.mark.parametrize("adb_lane", ["distribution", "google"], indirect=True)
def test_ctrl_c(phone: VirtualPhone, start: Start, tiny_tflite: Path, tmp_path: Path) -> None:
    out = tmp_path / "r.json"
    process = start(phone, tiny_tflite, "--rounds", 50, "--out", out, "--fixed-performance")
    await_that(out.exists, process)
    assert phone.state("fixed_performance") == "true"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    assert process.returncode == 130 and "--resume goes on" in err and "Traceback" not in err
    assert load(out).points[0].rounds
    assert phone.state("fixed_performance") == "false"
    assert not (phone.data / "evit-mobile" / "running").exists()


def test_killed_with_settings_changed(phone: VirtualPhone, start: Start, tiny_tflite: Path, tmp_path: Path) -> None:
    """The phone puts them back by itself, before anyone comes."""
    process = start(
        phone,
        tiny_tflite,
        "--rounds",
        50,
        "--out",
        tmp_path / "r.json",
        "--fixed-performance",
        "--governor",
        "performance",
    )
    await_that((tmp_path / "r.json").exists, process)
    assert phone.state("fixed_performance") == "true" and phone.governors == {"performance"}
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 60
    while (phone.state("fixed_performance"), phone.governors) != ("false", {"schedutil"}):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_second_process(
    phone: VirtualPhone, start: Start, bench: Callable[..., Ended], tiny_tflite: Path, tmp_path: Path
) -> None:
    out = tmp_path / "first.json"
    process = start(phone, tiny_tflite, "--rounds", 50, "--out", out)
    await_that(out.exists, process)
    ended = bench(phone)
    assert ended.code == 3 and f"is being measured by another process ({process.pid})" in ended.err
    process.kill()
    process.communicate()
    assert bench(phone).code == 0


def test_host_disk_full(phone: VirtualPhone, start: Start, tiny_tflite: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    # A copy is kept of what is on the disk, which ends with its namespace.
    keep = f'code=$?; cp "{disk}/r.json" "{tmp_path}/kept.json"; exit $code'
    mount = f'mount -t tmpfs -o size=8k tmpfs "{disk}" && "$@"; {keep}'
    before = ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mount, "sh")
    process = start(phone, tiny_tflite, "--rounds", 6, "--out", disk / "r.json", before=before)
    _, err = process.communicate()
    assert process.returncode == 4 and "no space left" in err.lower(), err
    [point] = load(tmp_path / "kept.json").points
    assert 1 <= len(point.rounds) < 6


def test_killed_sweep_goes_on(phone: VirtualPhone, start: Start, tiny: Callable[[int], Path], tmp_path: Path) -> None:
    out = tmp_path / "sweep.json"
    models = [tiny(channels) for channels in (8, 12, 16)]
    sweep = [
        *models,
        "--threads",
        1,
        "--threads",
        2,
        "--threads",
        4,
        "--runs",
        1,
        "--rounds",
        1,
        "--out",
        out,
        "--resume",
    ]
    ours = phone.data / "evit-mobile"

    def moments() -> list[Callable[[], bool]]:
        in_push = lambda: any(ours.glob("*.part"))  # noqa: E731
        in_run = lambda: out.exists() and (ours / "running").exists()  # noqa: E731
        written = lambda: any(name.startswith(".sweep.json.") for name in os.listdir(tmp_path))  # noqa: E731
        in_write = lambda: out.exists() and written()  # noqa: E731
        return [in_push, in_run, in_write]

    for moment in moments():
        process = start(phone, *sweep)
        await_that(moment, process)
        process.kill()
        process.communicate()
        for leftover in tmp_path.glob(".sweep.json.*"):
            leftover.unlink()
    process = start(phone, *sweep)
    _, err = process.communicate()
    assert process.returncode == 0, err
    points = load(out).points
    assert [(point.name, point.settings.threads) for point in points] == [
        (model.stem, threads) for threads in (1, 2, 4) for model in models
    ]
    assert all(point.is_complete and len(point.rounds) == 1 for point in points)
