"""What goes wrong between us and a phone, each on real adb, each ending in a clear line and its exit code."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from android_bench.emulator.root import EmulatorRoot
from android_bench.phone.adb import Adb
from android_bench.phone.store import FOLDER, remote
from evit_mobile.results.files import load
from tests.adb.conftest import AdbLane
from tests.adb.events import AWAKE, BOTH, Bench, ours, programs, running, soon, when
from tests.virtual_device.phone import VirtualPhone


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
    soon(lambda: not programs(phone))


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
        "is limited to 1000 of",
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
