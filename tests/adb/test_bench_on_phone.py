"""The whole way: the command line, real adb, an arm64 program on a virtual phone, a result file."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from android_bench.benchmark_model.binaries import RELEASE
from android_bench.emulator.root import EmulatorRoot
from android_bench.phone.store import remote
from evit_mobile.results.files import load
from evit_mobile.weights import sha256_of
from tests.adb.conftest import Ended
from tests.virtual_device.android import load_profile
from tests.virtual_device.phone import VirtualPhone

BOTH = pytest.mark.parametrize("adb_lane", ["distribution", "google"], indirect=True)
FOLDER = "evit-mobile"


@BOTH
def test_result(phone: VirtualPhone, bench: Callable[..., Ended], system: EmulatorRoot, tmp_path: Path) -> None:
    ended = bench(phone, "--fixed-performance", "--stay-awake", "--governor", "performance", rounds=2)
    assert ended.code == 0, ended.err
    assert "Emulated: Snapdragon 855 (SM8150) is emulated by another machine" in ended.out
    results = load(tmp_path / "r.json")
    device = results.device
    assert (device.kind, device.soc, device.abi, device.emulated) == (
        "adb",
        "Snapdragon 855 (SM8150)",
        "arm64-v8a",
        True,
    )
    assert len(device.cores) == 8 and device.cores[7].max_clock_khz == 2841600
    programs = {component.name: component for component in results.components}
    assert set(programs) == {"evit-mobile", "benchmark_model", "adb"}
    assert programs["benchmark_model"].sha256 == sha256_of(system.runner)
    [point] = results.points
    assert point.is_complete
    for entry in point.rounds:
        assert entry.printed_latency is not None and entry.printed_latency.count >= 1
        assert entry.printed_warmup is not None and entry.init_us and entry.first_inference_us and entry.cores_mask
        for conditions in (entry.before, entry.after):
            assert conditions is not None
            assert conditions.clocks_khz["7"] == 2841600 and conditions.temperatures_celsius["cpu-1-3-usr"] == 31
            assert (conditions.thermal_status, conditions.battery_percent) == (0, 87)
    # Everything was set, and is as it was.
    assert phone.state("fixed_performance") == "false"
    assert phone.state("settings/global/stay_on_while_plugged_in") is None
    assert phone.governors == {"schedutil"}
    assert not list((phone.data / FOLDER).glob("restore*"))
    assert "WAKEUP" in (phone.state("input") or "")


def test_nothing_is_pushed_twice_and_clean_leaves_nothing(phone: VirtualPhone, bench: Callable[..., Ended]) -> None:
    assert bench(phone).code == 0
    first = {path.name: path.stat().st_mtime_ns for path in (phone.data / FOLDER).iterdir()}
    assert len(first) == 2
    assert bench("adb").code == 0  # the only one needs no serial
    assert {path.name: path.stat().st_mtime_ns for path in (phone.data / FOLDER).iterdir()} == first
    # What is not whole is pushed again.
    victim = phone.data / FOLDER / min(first)
    victim.write_bytes(b"damaged")
    assert bench(phone).code == 0
    assert victim.read_bytes() != b"damaged"
    assert bench(phone, "--clean").code == 0
    assert list(phone.data.iterdir()) == []


def test_cores_are_those_asked_for(
    make_phone: Callable[..., VirtualPhone], bench: Callable[..., Ended], tmp_path: Path
) -> None:
    phone = make_phone(load_profile("snapdragon-855").with_two_cores())
    assert bench(phone, "--cores", "little", "--cores", "big").code == 0
    masks = {
        point.settings.cores: {entry.cores_mask for entry in point.rounds} for point in load(tmp_path / "r.json").points
    }
    assert masks == {"little": {"0x1"}, "big": {"0x2"}}
    ended = bench(phone, "--cores", "prime")
    assert ended.code == 2 and "no prime cores (it has big (0x2), little (0x1))" in ended.err


def test_a_program_without_a_profiler(
    phone: VirtualPhone,
    bench: Callable[..., Ended],
    compiled: Callable[[str], Path],
    system: EmulatorRoot,
    tmp_path: Path,
) -> None:
    """What was measured stands."""
    assert bench(phone).code == 0  # brings the runner there
    warning = "WARN: Unconsumed cmdline flags: --enable_op_profiling=true"
    older = compiled(
        'for (int i = 1; i < count; i++) if (!strncmp(values[i], "--enable_op_profiling", 21)) '
        f'{{ puts("{warning}"); fflush(stdout); }} execv("{remote(system.runner)}", values); return 127;'
    )
    ended = bench(phone, "--profile", "--benchmark-binary", older)
    assert (
        ended.code == 3
        and "no op profile: this build of benchmark_model does not know --enable_op_profiling=true" in ended.err
    )
    assert len(load(tmp_path / "r.json").points[0].rounds) == 1


def test_profile(phone: VirtualPhone, bench: Callable[..., Ended], gathering_tflite: Path, tmp_path: Path) -> None:
    """LiteRT's own profiler: time by op, and of what stayed outside the delegate the reason that inspect finds."""
    ended = bench(phone, "--profile", model=gathering_tflite)
    assert ended.code == 0, ended.err
    [point] = load(tmp_path / "r.json").points
    assert [(op.op.split(" ")[0], op.partition) for op in point.profile] == [
        ("Convolution", 0),
        ("GATHER", None),
        ("Convolution", 1),
    ]
    assert all(op.mean_us > 0 for op in point.profile)
    assert "1 x GATHER  outside the delegate: litert does not delegate this GATHER (float32, rank 4)" in ended.out
    times = json.loads(bench(phone, "--profile", "--json", model=gathering_tflite).out)["points"][0]["profile_by_type"]
    assert {(row["op"].split(" ")[0], row["nodes"], row["delegated"]) for row in times} == {
        ("Convolution", 2, True),
        ("GATHER", 1, False),
    }
    assert sum(row["share"] for row in times) == pytest.approx(1)
    assert not (phone.data / FOLDER / "profile.csv").exists()


def test_the_officials_own_words(
    phone: VirtualPhone, bench: Callable[..., Ended], replaying: Callable[..., Path], tmp_path: Path
) -> None:
    """What the official program printed and wrote in a real run, read from the phone."""
    assert bench(phone, "--benchmark-binary", replaying("05_result_file_m3")).code == 0
    [entry] = load(tmp_path / "r.json").points[0].rounds
    assert entry.printed_latency is not None and (entry.printed_latency.count, entry.printed_latency.mean_us) == (
        20,
        176.2,
    )
    assert entry.result_file is not None
    assert (
        entry.result_file["latency_metrics"]["avg_ms"] == 0.1762 and entry.result_file["misc_metrics"]["num_runs"] == 20
    )
    assert not (phone.data / FOLDER / "result.pb").exists()


def test_profile_of_the_official_program(
    phone: VirtualPhone, bench: Callable[..., Ended], replaying: Callable[..., Path], tmp_path: Path
) -> None:
    ended = bench(phone, "--profile", "--benchmark-binary", replaying("03_prof_csv_file_m3"))
    assert ended.code == 0, ended.err
    [point] = load(tmp_path / "r.json").points
    assert len(point.profile) == 66 and len(point.rounds) == 1
    assert "0.157 ms under the profiler" in ended.out and "35 x Fully Connected (NC, F32) GEMM" in ended.out


def test_android_studios_emulator(
    make_phone: Callable[..., VirtualPhone],
    evit: Callable[..., Ended],
    bench: Callable[..., Ended],
    replaying: Callable[..., Path],
    tmp_path: Path,
    tiny_tflite: Path,
) -> None:
    """On a PC it is x86_64: the program has to be, too, and none is published."""
    phone = load_profile("snapdragon-8-gen-3")
    abi = {"ro.product.cpu.abi": "x86_64", "ro.product.cpu.abilist": "x86_64,arm64-v8a"}
    names = {
        "ro.hardware": "ranchu",
        "ro.soc.model": "",
        "ro.board.platform": "",
        "ro.kernel.qemu": "",
        "ro.boot.qemu": "",
    }
    emulator = make_phone(replace(phone, properties={**phone.properties, **abi, **names}))
    ended = evit("bench", "--device", f"adb:{emulator.serial}", tiny_tflite, "--out", tmp_path / "r.json")
    assert (
        ended.code == 2
        and "no benchmark_model is published for x86_64" in ended.err
        and "--benchmark-binary PATH" in ended.err
    )
    ended = bench(emulator, "--benchmark-binary", replaying("01_default_m3", compiler="gcc"))
    assert ended.code == 0 and "Emulated: " in ended.out, ended.err
    device = load(tmp_path / "r.json").device
    assert (device.abi, device.emulated) == ("x86_64", True)


@pytest.fixture
def mirror(
    system: EmulatorRoot, served: Callable[[Path], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A folder with the lane's runner under the publisher's names; it is where the program is fetched from. Results go
    to tmp_path.
    """
    place = tmp_path / "mirror" / RELEASE / "android_arm64"
    place.mkdir(parents=True)
    shutil.copy(system.runner, place / "benchmark_model")
    monkeypatch.setenv("EVIT_MOBILE_BINARIES", served(tmp_path / "mirror"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "mirror"


def test_the_program_is_fetched_once(
    phone: VirtualPhone,
    evit: Callable[..., Ended],
    system: EmulatorRoot,
    mirror: Path,
    tmp_path: Path,
    tiny_tflite: Path,
) -> None:
    """For the phone's ABI, and its hash is in the result."""
    for _ in range(2):
        ended = evit("bench", "--device", f"adb:{phone.serial}", tiny_tflite, "--rounds", 1)
        assert ended.code == 0, ended.err
        shutil.rmtree(mirror, ignore_errors=True)
    first, second = sorted((tmp_path / "results").iterdir())
    program = next(component for component in load(first).components if component.name == "benchmark_model")
    assert (program.version, program.sha256) == (RELEASE, sha256_of(system.runner))
    assert load(second).components == load(first).components


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_bare_command(phone: VirtualPhone, evit: Callable[..., Ended], mirror: Path, tmp_path: Path) -> None:
    """As a new user types it: base-r224, ten rounds. Minutes, since the phone is emulated."""
    device = ("--device", f"adb:{phone.serial}")
    ended = evit("bench", *device)
    assert ended.code == 0, ended.err
    [result] = (tmp_path / "results").iterdir()
    [point] = load(result).points
    assert (
        point.name == "base-r224"
        and len(point.rounds) == 10
        and sum(entry.printed_latency.count for entry in point.rounds) >= 50
    )
    first = {path.name: path.stat().st_mtime_ns for path in (phone.data / FOLDER).iterdir()}
    both = ("--model", "base-r192", "--model", "base-r224", "--rounds", 2, "--runs", 2)
    assert evit("bench", *device, *both, "--out", "both.json").code == 0
    assert [(point.name, len(point.rounds)) for point in load(tmp_path / "both.json").points] == [
        ("base-r192", 2),
        ("base-r224", 2),
    ]
    second = {path.name: path.stat().st_mtime_ns for path in (phone.data / FOLDER).iterdir()}
    assert len(second) == 3 and first.items() <= second.items()
    assert evit("bench", *device, "--rounds", 1, "--runs", 1, "--clean", "--out", "clean.json").code == 0
    assert list(phone.data.iterdir()) == []


def test_devices(make_phone: Callable[..., VirtualPhone], evit: Callable[..., Ended], adb_lane: object) -> None:
    phones = [make_phone("snapdragon-855"), make_phone("snapdragon-8-gen-3")]
    for phone in phones:
        adb_lane.server.await_device(phone.serial, 10)  # type: ignore[attr-defined]
    listed = {entry["serial"]: entry for entry in json.loads(evit("devices", "--json").out)}
    older, newer = (listed[phone.serial] for phone in phones)
    assert (older["state"], older["todo"], older["android"], older["emulated"]) == ("device", None, "12", True)
    assert newer["soc"] == "Snapdragon 8 Gen 3 (SM8650)"
    assert [(entry["name"], entry["mask"], entry["max_clock_khz"]) for entry in older["clusters"]] == [
        ("prime", "0x80", 2841600),
        ("big", "0x70", 2419200),
        ("little", "0xf", 1785600),
    ]
    assert [(entry["name"], entry["mask"]) for entry in newer["clusters"]] == [
        ("prime", "0x80"),
        ("big", "0x1c"),
        ("big", "0x60"),
        ("little", "0x3"),
    ]
    text = evit("devices").out
    assert "Snapdragon 855 (SM8150), arm64-v8a, Android 12, emulated" in text and "not throttling" in text
