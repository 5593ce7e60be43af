"""Programs and models that do not run on a phone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from android_bench.device import DeviceOptions, open_device
from android_bench.emulator.root import EmulatorRoot
from android_bench.phone.store import remote
from android_bench.suites.rounds import Candidate, measure
from evit_mobile.results.files import load
from evit_mobile.results.record import RunSettings
from evit_mobile.weights import sha256_of
from tests.adb.events import BOTH, Bench, programs, running, soon
from tests.virtual_device.phone import VirtualPhone


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
    soon(lambda: not programs(phone))
