"""What goes wrong on a phone, each on real adb, each ending in a clear line and its exit code."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from android_bench.device import DeviceOptions, open_device
from android_bench.measure import Candidate, measure
from android_bench.phone import FOLDER
from evit_mobile.results.record import RunSettings, load
from tests.adb.conftest import AdbLane, Ended
from tests.virtual_device.phone import VirtualPhone

BOTH = pytest.mark.parametrize("adb_lane", ["distribution", "google"], indirect=True)
Bench = Callable[..., Ended]


@contextlib.contextmanager
def when(condition: Callable[[], bool], action: Callable[[], None]) -> Iterator[None]:
    """Do ``action`` once, as soon as ``condition`` holds, beside the body."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.01):
            if condition():
                action()
                return

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def running(phone: VirtualPhone) -> bool:
    return (phone.data / "evit-mobile" / "running").exists()


def test_no_adb(evit: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ANDROID_HOME", "ANDROID_SDK_ROOT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    ended = evit("devices")
    assert ended.code == 4 and "there is no adb on this machine (install it: apt install adb" in ended.err


def test_no_device(adb_lane: AdbLane, bench: Bench) -> None:
    ended = bench("adb")
    assert ended.code == 3 and "no device is attached" in ended.err


def test_absent_device(adb_lane: AdbLane, bench: Bench) -> None:
    ended = bench("adb:R58M123ABCD")
    assert ended.code == 3 and "device R58M123ABCD is not there" in ended.err and ended.err.count("\n") == 1


@pytest.mark.parametrize("address", ["-s", "x; reboot", "a b", "$(reboot)", "x@nowhere"])
def test_what_is_no_serial(adb_lane: AdbLane, bench: Bench, address: str) -> None:
    assert bench(f"adb:{address}").code == 2


def test_two_devices(adb_lane: AdbLane, make_phone: Callable[[], VirtualPhone], bench: Bench) -> None:
    for phone in (make_phone(), make_phone()):
        adb_lane.server.await_device(phone.serial, 10)
    ended = bench("adb")
    assert ended.code == 3 and "2 devices are attached" in ended.err and "--device adb:SERIAL" in ended.err


def test_unauthorized(phone: VirtualPhone, bench: Bench, evit: Bench) -> None:
    phone.fault(authorized=False)
    ended = bench(phone)
    assert ended.code == 3 and "is unauthorized (unlock the phone and allow USB debugging" in ended.err
    listed = evit("devices")
    assert listed.code == 0 and f"{phone.serial}  unauthorized: unlock the phone" in listed.out


def test_offline_then_back(adb_lane: AdbLane, phone: VirtualPhone, bench: Bench) -> None:
    adb_lane.server.await_device(phone.serial, 10)
    phone.stop()
    assert bench(phone).code == 3
    phone.start()
    assert bench(phone).code == 0


def test_server_killed_in_mid_run(adb_lane: AdbLane, phone: VirtualPhone, bench: Bench) -> None:
    with when(lambda: running(phone), lambda: adb_lane.server.run(["kill-server"], timeout_s=20) and None):
        ended = bench(phone, "--reconnect", 10)
    assert ended.code == 0, ended.err


@BOTH
def test_vanishes_in_mid_push(phone: VirtualPhone, bench: Bench) -> None:
    phone.fault(vanish_in_push=4096)
    ended = bench(phone)
    assert ended.code == 3 and "went away and did not come back" in ended.err
    phone.stop()
    phone.start()
    assert bench(phone).code == 0


@BOTH
def test_vanishes_in_mid_run(phone: VirtualPhone, bench: Bench, compiled: Callable[[str], Path]) -> None:
    phone.fault(vanish_in_shell="--graph=")
    ended = bench(phone, "--benchmark-binary", compiled("pause(); return 0;"), "--fixed-performance")
    assert ended.code == 3 and "went away and did not come back" in ended.err
    assert phone.state("fixed_performance") == "true"
    # It is put back by whoever comes next.
    phone.stop()
    phone.start()
    assert bench(phone).code == 0
    assert phone.state("fixed_performance") == "false"


def test_finished_rounds_are_kept(phone: VirtualPhone, bench: Bench, tmp_path: Path) -> None:
    out = tmp_path / "r.json"
    with when(out.exists, phone.stop):
        ended = bench(phone, rounds=4)
    assert ended.code == 3 and "--resume goes on" in ended.err
    [point] = load(out).points
    assert 1 <= len(point.rounds) < 4 and not point.is_complete
    phone.start()
    common = ["--out", out, "--resume"]
    assert bench(phone, *common, rounds=4).code == 0
    [again] = load(out).points
    assert again.is_complete and again.rounds[: len(point.rounds)] == point.rounds


def test_push_cut_short(phone: VirtualPhone, bench: Bench) -> None:
    phone.fault(truncate_push=1000)
    ended = bench(phone)
    assert ended.code == 3 and "did not arrive whole" in ended.err
    assert not list((phone.data / "evit-mobile").glob("*.part"))


def test_data_full(make_phone: Callable[..., VirtualPhone], bench: Bench) -> None:
    ended = bench(make_phone(data_bytes=16384))
    assert ended.code == 3 and "no space left on the device (free some" in ended.err


def test_binary_of_another_abi(phone: VirtualPhone, bench: Bench) -> None:
    ended = bench(phone, "--benchmark-binary", "/bin/true")
    assert ended.code == 3 and "/bin/true is built for x86_64, the device executes arm64-v8a" in ended.err


def test_binary_of_another_hash(phone: VirtualPhone, bench: Bench) -> None:
    ended = bench(phone, "--benchmark-sha256", "0" * 64)
    assert ended.code == 2 and "has the hash" in ended.err


def test_model_that_the_runtime_rejects(phone: VirtualPhone, system: object, tiny_tflite: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.tflite"
    broken.write_bytes(tiny_tflite.read_bytes()[:200])
    options = DeviceOptions(benchmark_binary=str(system.runner))  # type: ignore[attr-defined]
    device = open_device(f"adb:{phone.serial}", options)
    candidates = [Candidate("broken", broken), Candidate("sound", tiny_tflite)]
    *_, (rejected, sound) = measure(device, candidates, RunSettings(runs=1, rounds=1, min_time_s=0))
    assert rejected.error is not None and "exit code 1: Failed to load model" in rejected.error
    assert sound.is_complete


def test_output_of_an_unknown_dialect(phone: VirtualPhone, bench: Bench, compiled: Callable[[str], Path]) -> None:
    ended = bench(phone, "--benchmark-binary", compiled('puts("average 3 ms"); return 0;'))
    assert ended.code == 3 and "no results in a form that is known here; its last line: average 3 ms" in ended.err


def test_run_that_hangs(phone: VirtualPhone, bench: Bench, compiled: Callable[[str], Path]) -> None:
    ended = bench(phone, "--benchmark-binary", compiled("for (;;) pause();"), "--run-timeout", 2)
    assert ended.code == 3 and "did not end within 2 s and was stopped" in ended.err
    assert not running(phone)
    # The shells that had started it end after it, in a moment.
    deadline = time.monotonic() + 2
    while left := _programs(phone):
        assert time.monotonic() < deadline, left
        time.sleep(0.05)


def _programs(phone: VirtualPhone) -> list[str]:
    """The command lines of the phone's programs that are ours: they are processes of this machine, in the phone's root."""
    found = []
    for number in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            if os.path.samefile(f"/proc/{number}/root", phone.root):
                found.append(Path(f"/proc/{number}/cmdline").read_text())
    return [line for line in found if FOLDER in line]


def test_never_cools(phone: VirtualPhone, bench: Bench) -> None:
    phone.set_temperature(71.5)
    ended = bench(phone, "--max-temp", 40, "--cool-timeout", 1)
    assert ended.code == 3 and "within 1 s: it is at 71.5 °C (allowed: 40 °C)" in ended.err


def test_waits_until_cool(phone: VirtualPhone, bench: Bench) -> None:
    phone.set_thermal_status(2)
    began = time.monotonic()

    with when(lambda: time.monotonic() > began + 1 and (phone.data / "evit-mobile").exists(), lambda: phone.set_thermal_status(0)):
        assert bench(phone, "--cool-timeout", 60).code == 0


def test_clock_held_at_its_minimum(phone: VirtualPhone, bench: Bench) -> None:
    for cluster in phone.profile.clusters:
        phone.set_clock(cluster.min_khz, cluster.cores)
    ended = bench(phone, "--cool-timeout", 1)
    assert ended.code == 3 and "holds its clocks at their minimum under load: core 7 at 826 MHz of 2842 MHz" in ended.err


def test_clock_limited(phone: VirtualPhone, bench: Bench) -> None:
    phone.set_clock_limit(1000000, [7])
    ended = bench(phone, "--cool-timeout", 1)
    assert ended.code == 3 and "core 7 may run at 1000 MHz only, of 2842 MHz" in ended.err
