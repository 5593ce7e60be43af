"""What goes wrong on a phone, each on real adb, each ending in a clear line and its exit code."""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from android_bench.device import DeviceOptions, open_device
from android_bench.emulator.root import EmulatorRoot
from android_bench.phone.adb import Adb
from android_bench.phone.store import FOLDER, remote
from android_bench.suites.rounds import Candidate, measure
from evit_mobile.results.record import RunSettings, load
from evit_mobile.weights import sha256_of
from tests.adb.conftest import AdbLane, Ended
from tests.virtual_device.phone import VirtualPhone

AWAKE = "settings/global/stay_on_while_plugged_in"
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


def soon(condition: Callable[[], bool]) -> None:
    """Wait until ``condition`` holds; it is bound to in a moment."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def ours(phone: VirtualPhone) -> Path:
    return phone.data / "evit-mobile"


def running(phone: VirtualPhone) -> bool:
    return (ours(phone) / "running").exists()


def test_no_adb(evit: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ANDROID_HOME", "ANDROID_SDK_ROOT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    ended = evit("devices")
    assert ended.code == 4 and "there is no adb on this machine (install it: apt install adb" in ended.err


@BOTH
def test_no_device(adb_lane: AdbLane, bench: Bench) -> None:
    ended = bench("adb")
    assert ended.code == 3 and "no device is attached" in ended.err


@BOTH
def test_absent_device(adb_lane: AdbLane, bench: Bench) -> None:
    ended = bench("adb:R58M123ABCD")
    assert ended.code == 3 and "device R58M123ABCD is not there" in ended.err and ended.err.count("\n") == 1


@pytest.mark.parametrize("address", ["-s", "x; reboot", "a b", "$(reboot)", "x@nowhere"])
def test_what_is_no_serial(adb_lane: AdbLane, bench: Bench, address: str) -> None:
    assert bench(f"adb:{address}").code == 2


@BOTH
def test_two_devices(adb_lane: AdbLane, make_phone: Callable[[], VirtualPhone], bench: Bench) -> None:
    for phone in (make_phone(), make_phone()):
        adb_lane.server.await_device(phone.serial, 10)
    ended = bench("adb")
    assert ended.code == 3 and "2 devices are attached" in ended.err and "--device adb:SERIAL" in ended.err


@BOTH
def test_unauthorized(phone: VirtualPhone, bench: Bench, evit: Bench) -> None:
    phone.fault(authorized=False)
    ended = bench(phone)
    assert ended.code == 3 and "is unauthorized (unlock the phone and allow USB debugging" in ended.err
    listed = evit("devices")
    assert listed.code == 0 and f"{phone.serial}  unauthorized: unlock the phone" in listed.out


@BOTH
def test_offline_then_back(adb_lane: AdbLane, phone: VirtualPhone, bench: Bench) -> None:
    adb_lane.server.await_device(phone.serial, 10)
    phone.stop()
    assert bench(phone).code == 3
    phone.start()
    assert bench(phone).code == 0


@BOTH
def test_server_killed_in_mid_run(adb_lane: AdbLane, phone: VirtualPhone, bench: Bench) -> None:
    with when(lambda: running(phone), lambda: adb_lane.server.run(["kill-server"], timeout_s=20) and None):
        ended = bench(phone, "--reconnect", 60)
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


def test_cable_pulled(phone: VirtualPhone, bench: Bench, compiled: Callable[[str], Path]) -> None:
    """The phone lives on, and is as it was before anyone comes back to it."""
    with when(lambda: running(phone), lambda: phone.fault(unplugged=True)):
        ended = bench(
            phone, "--benchmark-binary", compiled("pause(); return 0;"), "--fixed-performance", "--stay-awake"
        )
    assert ended.code == 3 and "went away and did not come back" in ended.err
    soon(lambda: phone.state("fixed_performance") == "false" and phone.state(AWAKE) is None)
    assert not list(ours(phone).glob("restore*"))
    phone.fault(unplugged=False)
    assert bench(phone).code == 0


def test_settings_are_set_again_after_a_loose_contact(phone: VirtualPhone, bench: Bench, tmp_path: Path) -> None:
    """The phone puts them back by itself when it is cut off, so they are set anew for the rounds that follow."""
    out, seen = tmp_path / "r.json", []

    def loose() -> None:
        phone.fault(unplugged=True)
        soon(lambda: phone.state("fixed_performance") == "false")
        phone.fault(unplugged=False)
        soon(lambda: phone.state("fixed_performance") == "true")
        seen.append("set again")

    with when(out.exists, loose):
        ended = bench(phone, "--fixed-performance", "--reconnect", 60, rounds=3)
    assert ended.code == 0 and seen, ended.err
    assert len(load(out).points[0].rounds) == 3 and phone.state("fixed_performance") == "false"


def test_a_run_that_was_cut_off_is_ended_before_it_is_repeated(
    phone: VirtualPhone, bench: Bench, compiled: Callable[[str], Path], system: EmulatorRoot
) -> None:
    """Two at once would measure each other."""
    assert bench(phone).code == 0  # brings the runner there
    once = f"{FOLDER}/once"
    first_hangs = compiled(
        f'if (access("{once}", F_OK)) {{ fclose(fopen("{once}", "w")); for (;;) pause(); }} '
        f'execv("{remote(system.runner)}", values); return 127;'
    )

    def loose() -> None:
        phone.fault(unplugged=True)
        phone.fault(unplugged=False)

    with when((ours(phone) / "once").exists, loose):
        ended = bench(phone, "--benchmark-binary", first_hangs, "--reconnect", 60)
    assert ended.code == 0, ended.err
    soon(lambda: not _programs(phone))


#: What happens after the first round, how a bench that was begun before it ends, and how it is made good.
LATER: dict[str, tuple[Callable[[VirtualPhone], object], str, Callable[[VirtualPhone], object]]] = {
    "the phone goes down": (VirtualPhone.stop, "did not come back", VirtualPhone.start),
    "the cable is pulled": (
        lambda phone: phone.fault(unplugged=True),
        "did not come back",
        lambda phone: phone.fault(unplugged=False),
    ),
    "authorisation is withdrawn": (
        lambda phone: phone.fault(authorized=False, unplugged=True) or phone.fault(unplugged=False),
        "is unauthorized (unlock the phone",
        lambda phone: phone.fault(authorized=True, unplugged=True) or phone.fault(unplugged=False),
    ),
    "it gets hot": (
        lambda phone: phone.set_thermal_status(3),
        "(thermal status 3)",
        lambda phone: phone.set_thermal_status(0),
    ),
    "its clocks are held back": (
        lambda phone: phone.set_clock_limit(1000000),
        "may run at 1000 MHz only",
        lambda phone: phone.set_clock_limit(2841600),
    ),
}


@pytest.mark.parametrize(
    ("adb_lane", "later"),
    [("distribution", later) for later in LATER]
    + [("google", "the phone goes down"), ("google", "authorisation is withdrawn")],
    indirect=["adb_lane"],
)
def test_finished_rounds_are_kept(phone: VirtualPhone, bench: Bench, tmp_path: Path, later: str) -> None:
    happens, words, mend = LATER[later]
    out = tmp_path / "r.json"
    with when(out.exists, lambda: happens(phone) and None):
        ended = bench(phone, "--cool-timeout", 0.5, rounds=3)
    assert ended.code == 3 and words in ended.err and "--resume goes on" in ended.err, ended.err
    [point] = load(out).points
    assert 1 <= len(point.rounds) < 3 and not point.is_complete
    mend(phone)
    assert bench(phone, "--resume", rounds=3).code == 0
    [again] = load(out).points
    assert again.is_complete and again.rounds[: len(point.rounds)] == point.rounds


@BOTH
def test_push_cut_short(phone: VirtualPhone, bench: Bench) -> None:
    phone.fault(truncate_push=1000)
    ended = bench(phone)
    assert ended.code == 3 and "did not arrive whole" in ended.err
    assert not list(ours(phone).glob("*.part"))


@BOTH
def test_data_full(adb_lane: AdbLane, make_phone: Callable[..., VirtualPhone], bench: Bench) -> None:
    phone = make_phone(data_bytes=16384)
    adb = Adb(adb_lane.server, phone.serial)
    ended = bench(phone)
    assert ended.code == 3 and "no space left on the device (free some" in ended.err
    # Nothing of what did not fit stays.
    assert (
        "evit-mobile" in adb.shell("cd /data/local/tmp; ls").stdout
        and adb.shell("ls /data/local/tmp/evit-mobile").stdout == ""
    )


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


def test_a_model_that_fails_leaves_the_others(
    phone: VirtualPhone,
    bench: Bench,
    compiled: Callable[[str], Path],
    system: EmulatorRoot,
    tiny: Callable[[int], Path],
    tmp_path: Path,
) -> None:
    """The exit code tells of the one, the result file holds the other."""
    other = tiny(12)
    choosy = compiled(
        f'for (int i = 1; i < count; i++) if (strstr(values[i], "{sha256_of(other)[:16]}")) '
        '{ fprintf(stderr, "ERROR: Could not load it\\n"); return 1; }'
        f'execv("{remote(system.runner)}", values); return 127;'
    )
    assert bench(phone).code == 0  # brings the runner there
    ended = bench(phone, other, "--benchmark-binary", choosy)
    assert (
        ended.code == 3
        and f"{other.stem} failed: benchmark_model failed with exit code 1: Could not load it" in ended.err
    )
    sound, failed = load(tmp_path / "r.json").points
    assert sound.is_complete and failed.error is not None


def test_output_of_an_unknown_dialect(phone: VirtualPhone, bench: Bench, compiled: Callable[[str], Path]) -> None:
    ended = bench(phone, "--benchmark-binary", compiled('puts("average 3 ms"); return 0;'))
    assert ended.code == 3 and "no results in a form that is known here; its last line: average 3 ms" in ended.err


@BOTH
def test_run_that_hangs(phone: VirtualPhone, bench: Bench, compiled: Callable[[str], Path]) -> None:
    ended = bench(phone, "--benchmark-binary", compiled("for (;;) pause();"), "--run-timeout", 2)
    assert ended.code == 3 and "did not end within 2 s and was stopped" in ended.err
    assert not running(phone)
    # The shells that had started it end after it, in a moment.
    soon(lambda: not _programs(phone))


def _programs(phone: VirtualPhone) -> list[str]:
    """The command lines of the phone's programs that are ours: they are processes of this machine, in the
    phone's root.
    """
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

    with when(lambda: time.monotonic() > began + 1 and ours(phone).exists(), lambda: phone.set_thermal_status(0)):
        assert bench(phone, "--cool-timeout", 60).code == 0


def test_clock_held_at_its_minimum(phone: VirtualPhone, bench: Bench) -> None:
    for cluster in phone.profile.clusters:
        phone.set_clock(cluster.min_khz, cluster.cores)
    ended = bench(phone, "--cool-timeout", 1)
    assert (
        ended.code == 3 and "holds its clocks at their minimum under load: core 7 at 826 MHz of 2842 MHz" in ended.err
    )


def test_clock_limited(phone: VirtualPhone, bench: Bench) -> None:
    phone.set_clock_limit(1000000, [7])
    ended = bench(phone, "--cool-timeout", 1)
    assert ended.code == 3 and "core 7 may run at 1000 MHz only, of 2842 MHz" in ended.err


def without(*commands: str) -> Callable[[VirtualPhone], None]:
    def remove(phone: VirtualPhone) -> None:
        for command in commands:
            (phone.root / "system" / "bin" / command).unlink()

    return remove


def without_sysfs(phone: VirtualPhone) -> None:
    """As on phones whose maker keeps it from adb's user."""
    for path in (*phone.root.glob("sys/devices/system/cpu/cpu[0-9]*"), *phone.root.glob("sys/class/thermal")):
        shutil.rmtree(path)


@pytest.mark.parametrize(
    ("lacking", "arguments", "code", "words"),
    [
        (without("dumpsys", "cmd", "settings", "taskset", "od"), [], 0, ""),
        (without("cmd"), ["--fixed-performance"], 2, "has no fixed-performance mode (it is there from Android 11 on"),
        (without("taskset"), ["--cores", "big"], 3, "does not run on the cores 0x70: "),
        (without("sha256sum"), [], 3, "has no sha256sum (Android 6 is the oldest that can be measured)"),
        (without("getprop"), [], 3, "does not answer as Android does (boot it into Android)"),
        (without_sysfs, [], 0, ""),
        (
            without_sysfs,
            ["--cores", "big"],
            2,
            "does not say which of its cores are big (give all, or a hexadecimal mask: 0xf0)",
        ),
        (without_sysfs, ["--max-temp", "40"], 2, "does not say how warm it is (leave --max-temp out)"),
        (
            without_sysfs,
            ["--governor", "performance"],
            2,
            "does not let its governor be set to performance (that needs root (adb root))",
        ),
    ],
)
def test_what_a_phone_may_lack(
    phone: VirtualPhone,
    bench: Bench,
    lacking: Callable[[VirtualPhone], None],
    arguments: list[str],
    code: int,
    words: str,
) -> None:
    lacking(phone)
    ended = bench(phone, *arguments)
    assert ended.code == code and words in ended.err, ended.err
    assert all(line.startswith(("error: ", "warning: ")) for line in ended.err.splitlines()), ended.err


def test_programs_may_not_be_executed(make_phone: Callable[..., VirtualPhone], bench: Bench) -> None:
    ended = bench(make_phone(data_bytes=16 << 20, noexec=True))
    assert (
        ended.code == 3 and "does not let programs be executed there, by its mount options or SELinux" in ended.err
    ), ended.err


def test_names_with_spaces_and_dashes(phone: VirtualPhone, bench: Bench, tiny_tflite: Path, tmp_path: Path) -> None:
    odd = tmp_path / "-my models; reboot" / "it's (1).tflite"
    odd.parent.mkdir()
    shutil.copy(tiny_tflite, odd)
    assert bench(phone, model=odd).code == 0


def test_another_machines_server(
    adb_lane: AdbLane, phone: VirtualPhone, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    adb_lane.server.await_device(phone.serial, 10)
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", "1")
    assert bench(f"adb:{phone.serial}@127.0.0.1:{adb_lane.port}").code == 0
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(adb_lane.port))


def test_serial_in_the_environment(
    adb_lane: AdbLane,
    make_phone: Callable[[], VirtualPhone],
    bench: Bench,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    phones = [make_phone(), make_phone()]
    for phone in phones:
        adb_lane.server.await_device(phone.serial, 10)
    monkeypatch.setenv("ANDROID_SERIAL", phones[1].serial)
    assert bench("adb").code == 0 and load(tmp_path / "r.json").device.serial == phones[1].serial
    assert bench(phones[0]).code == 0 and load(tmp_path / "r.json").device.serial == phones[0].serial
