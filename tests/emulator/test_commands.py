"""bench and verify on an emulated processor, and the budget."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from android_bench.device import DeviceOptions
from android_bench.emulator import counting
from android_bench.emulator.counting import AGREEMENT, BenchmarkBinary, agree, settled
from android_bench.emulator.device import RELEASES, open_device
from android_bench.emulator.qemu import Qemu
from android_bench.emulator.root import EmulatorRoot
from benchmarks.arm64_budget import count, judge, load_budget
from evit_mobile.cli.bench import command as bench
from evit_mobile.cli.verify import command as verify
from evit_mobile.errors import DeviceError, RequestError
from evit_mobile.results.files import load
from evit_mobile.weights import sha256_of


@pytest.fixture
def invoke(root: EmulatorRoot, tmp_path: Path) -> Callable[..., None]:
    """Runs ``bench`` on the emulated Cortex-A76, into ``out.json``."""

    def run(*arguments: str) -> None:
        result = CliRunner().invoke(
            bench, ["--device", "qemu:cortex-a76", "--out", str(tmp_path / "out.json"), *arguments]
        )
        if result.exception is not None:
            raise result.exception

    return run


def test_bench_counts_instructions_and_no_time(invoke: Callable[..., None], small_tflite: Path, tmp_path: Path) -> None:
    invoke(str(small_tflite), "--json")
    results = load(tmp_path / "out.json")
    assert results.device.emulated and results.device.soc == "Cortex-A76"
    [point] = results.points
    assert point.quantity == "instructions" and len(point.rounds) == 2 and point.error is None
    first, second = (entry.values for entry in point.rounds)
    assert max(first + second) - min(first + second) <= 0.001 * min(first)
    shown = {component.name: component for component in results.components}
    assert shown["ai-edge-litert (arm64)"].version == RELEASES["litert"]
    assert "0xd0b" in shown["/proc/cpuinfo and /sys/devices/system/cpu"].version
    assert "latency_us" not in json.dumps(json.loads((tmp_path / "out.json").read_text())["points"])


def test_each_signature_is_counted_as_its_own_file(
    invoke: Callable[..., None], two_resolutions: Path, small_tflite: Path, tmp_path: Path
) -> None:
    """The other signature is loaded and costs an inference nothing; see AGREEMENT for what two counts differ by."""
    invoke(str(two_resolutions), str(small_tflite))
    large, small, alone = load(tmp_path / "out.json").points
    assert (large.resolution, small.resolution) == ("96", "64") and small.values < large.values
    assert large.values[0][0] == pytest.approx(alone.values[0][0], rel=AGREEMENT)


def test_each_signature_is_verified(root: EmulatorRoot, two_resolutions: Path) -> None:
    arguments = [str(two_resolutions), "--device", "qemu:cortex-a76", "--json"]
    done = CliRunner().invoke(verify, arguments, catch_exceptions=False)
    document = json.loads(done.stdout)
    assert document["passed"] and list(document["signatures"]) == ["r96", "r64"]


@pytest.mark.parametrize(
    ("arguments", "message"), [(["--threads", "2"], "runs one thread"), (["--cores", "3"], "no cores to choose from")]
)
def test_bench_refuses_what_cannot_be_counted(
    invoke: Callable[..., None], small_tflite: Path, arguments: list[str], message: str
) -> None:
    with pytest.raises(RequestError, match=message):
        invoke(str(small_tflite), *arguments)


def test_runtime_without_an_arm64_library_is_refused() -> None:
    with pytest.raises(RequestError, match="'tensorflow' cannot be emulated .*litert-latest"):
        open_device("cortex-a76", DeviceOptions(runtime="tensorflow"))


@pytest.fixture
def build(root: EmulatorRoot, tmp_path: Path) -> Callable[..., Path]:
    """Builds an arm64 program of C."""

    def compiled(source: Path, *flags: str) -> Path:
        program = tmp_path / source.stem
        subprocess.run(["aarch64-linux-gnu-gcc", "-O2", "-o", program, source, "-ldl", "-lm", *flags], check=True)
        return program

    return compiled


def test_benchmark_binary_counts_a_known_loop(
    invoke: Callable[..., None], build: Callable[..., Path], small_tflite: Path, tmp_path: Path
) -> None:
    """Oracle: the assembly, a million instructions an inference. The program stands for the published one, which runs
    the model.
    """
    program = build(Path(__file__).with_name("arm64_benchmark.c"))
    invoke(str(small_tflite), "--benchmark-binary", str(program))
    results = load(tmp_path / "out.json")
    [point] = results.points
    assert all(abs(value - 1_000_000) < 500 for entry in point.rounds for value in entry.values)
    [component] = [entry for entry in results.components if entry.name == "benchmark_model"]
    assert component.sha256 == sha256_of(program)
    assert not any("litert" in entry.name for entry in results.components)


def test_benchmark_binary_counts_as_the_runner_does(a76: Qemu, build: Callable[..., Path], small_tflite: Path) -> None:
    """The runner under the flags of benchmark_model alone, LiteRT found by the loader: two ways to count the same
    kernels.
    """
    source = Path(counting.__file__).with_name("runner.c")
    program = build(source, f"-Wl,-rpath,{a76.library.parent}")
    [by_marks] = a76.count(small_tflite, 1)
    assert settled(BenchmarkBinary(a76, program), small_tflite)[-1] == pytest.approx(by_marks, rel=AGREEMENT)


def test_benchmark_binary_for_another_processor_is_refused(root: EmulatorRoot, tmp_path: Path) -> None:
    program = tmp_path / "benchmark_model"
    program.write_bytes(b"\x7fELF\x02" + bytes(13) + b"\x3e\x00")
    with pytest.raises(DeviceError, match="is built for x86_64, the device executes arm64-v8a"):
        open_device("cortex-a76", DeviceOptions(benchmark_binary=str(program)))
    with pytest.raises(RequestError, match="there is no file absent"):
        open_device("cortex-a76", DeviceOptions(benchmark_binary="absent"))


def test_benchmark_binary_that_fails_is_one_line(
    invoke: Callable[..., None], build: Callable[..., Path], small_tflite: Path
) -> None:
    with pytest.raises(DeviceError, match="printed no results") as failed:
        invoke(str(small_tflite), "--benchmark-binary", str(build(Path(__file__).with_name("arm64_facts.c"))))
    assert "\n" not in str(failed.value)


def test_counts_that_never_settle_are_an_error(tmp_path: Path) -> None:
    class Wandering:
        def check(self, model: Path) -> None: ...

        def count(self, model: Path, inferences: int) -> tuple[int, ...]:
            return tuple(1000 + 2 * index for index in range(inferences))

    with pytest.raises(DeviceError, match="do not settle: 1012 and 1014 in the last two of 8 inferences"):
        settled(Wandering(), tmp_path / "model.tflite")
    assert agree([5, 1000, 1001]) and not agree([1000]) and not agree([1000, 1002])


def test_verify_finds_parity_on_arm64(root: EmulatorRoot, small_tflite: Path) -> None:
    result = CliRunner().invoke(verify, [str(small_tflite), "--device", "qemu:cortex-a76", "--json"])
    assert result.exception is None
    report = json.loads(result.stdout)
    rows = [row for row in report["rows"] if row["runtime"] == "qemu:cortex-a76"]
    assert len(rows) == len(report["inputs"]) and all(row["passed"] for row in rows)


def test_verify_takes_no_other_device(small_tflite: Path) -> None:
    result = CliRunner().invoke(verify, [str(small_tflite), "--device", "host"])
    assert isinstance(result.exception, RequestError) and "qemu:CPU" in (result.exception.hint or "")


def test_budget_fails_a_model_that_grew_by_more_than_its_tolerance() -> None:
    names = ("instructions", "cycles")
    models = {
        key: {"model": key, **dict.fromkeys(names, amount)} for key, amount in (("a", 1_000_000), ("b", 2_000_000))
    }
    budget = {"tolerance": 0.01, "models": models}
    counted = {"instructions": {"a": 1_010_001, "b": 2_020_000}, "cycles": {"a": 1_000_000, "b": 2_020_001}}
    verdicts = judge(budget, counted)
    assert [(verdict.model, verdict.unit, verdict.is_over) for verdict in verdicts] == [
        ("a", "instructions", True), ("a", "estimated cycles", False),
        ("b", "instructions", False), ("b", "estimated cycles", True),
    ]  # fmt: skip
    assert "+1.00%" in str(verdicts[2]) and "within" in str(verdicts[2]) and "estimated" in str(verdicts[3])


def test_budget_counts_what_it_names(root: EmulatorRoot, small_tflite: Path) -> None:
    """A model of the suite's cache in the place of the real one; the file that is committed is checked by make
    check-budget.
    """
    entry = {"model": "base-r192", "resolution": "96", "instructions": 1}
    devices = {"instructions": "qemu:cortex-a76"}
    counted = count({"devices": devices, "runtime": "litert", "models": {"small": entry}})
    assert counted["instructions"]["small"] > 20_000_000
    budget = load_budget()
    assert set(budget) == {"devices", "runtime", "tolerance", "models"}
    assert all(set(budget["devices"]) <= set(entry) for entry in budget["models"].values())
