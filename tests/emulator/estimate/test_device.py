"""The estimated device on a small network."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from pydantic import ValidationError

from android_bench.device import DeviceOptions, kind_of, open_device
from android_bench.emulator.qemu import Qemu
from android_bench.estimate.device import EstimatedDevice
from android_bench.estimate.devices import Cache, find_device, load_device, names
from android_bench.estimate.kept import kept_works
from android_bench.estimate.tools import Llvm
from android_bench.estimate.works import trace, works_of
from evit_mobile.cli.main import cli
from evit_mobile.errors import RequestError
from evit_mobile.results.estimates import Estimate, OpEstimate
from evit_mobile.results.files import load

DEVICE = "estimate:snapdragon-855"
SETTINGS = kind_of(DEVICE).settings


def _estimate(device: EstimatedDevice, model: Path, threads: int = 1) -> Estimate:
    settings = SETTINGS.evolve(threads=threads)
    with device.prepare([model], settings) as prepared:
        estimate = prepared.run(model).estimate
    assert estimate is not None
    return estimate


def _op_estimates(device: EstimatedDevice, model: Path) -> tuple[OpEstimate, ...]:
    with device.prepare([model], SETTINGS) as prepared:
        return prepared.op_estimates(model)


@pytest.fixture(scope="module")
def device(a76: Qemu, llvm: Llvm) -> EstimatedDevice:
    return EstimatedDevice("snapdragon-855", find_device("snapdragon-855"), a76, llvm)


def test_two_runs_give_equal_cycles(a76: Qemu, llvm: Llvm, small_tflite: Path) -> None:
    model = find_device("snapdragon-855")
    once, again = (works_of(*trace(a76, small_tflite, model), llvm, model) for _ in range(2))
    assert once == again and len(once) > 100


def test_kept_work_is_what_was_traced(a76: Qemu, llvm: Llvm, small_tflite: Path, cache: Path) -> None:
    model = find_device("snapdragon-855")
    works = kept_works(a76, llvm, small_tflite, model)
    kept = list((cache / "estimate").glob("works-*.json"))
    assert kept and kept_works(a76, llvm, small_tflite, model) == works
    for path in kept:
        path.write_text(path.read_text()[:-9])
    assert kept_works(a76, llvm, small_tflite, model) == works


def test_instructions_are_those_of_the_counter(device: EstimatedDevice, a76: Qemu, small_tflite: Path) -> None:
    """Oracle: the instruction counter, another plugin. What the profiler does at the end of each op comes on top: about
    1,100 instructions."""
    [counted] = a76.count(small_tflite, 1)
    traced = _estimate(device, small_tflite).instructions
    ops = len(_op_estimates(device, small_tflite))
    assert 0 <= traced - counted < 1500 * ops
    assert traced < 1.02 * counted


def test_each_signature_is_estimated_as_its_own_file(
    device: EstimatedDevice, two_resolutions: Path, small_tflite: Path, tmp_path: Path
) -> None:
    """The weights of both lie in one file, and so elsewhere in memory: the caches' sets are others, the work is not."""
    out = tmp_path / "out.json"
    done = CliRunner().invoke(cli, ["bench", "--device", DEVICE, "--profile", str(two_resolutions), "--out", str(out)])
    assert done.exception is None, done.output
    points = load(out).points
    large, small = (point.rounds[0].estimate for point in points)
    assert large is not None and small is not None
    alone = _estimate(device, small_tflite)
    assert large.instructions == pytest.approx(alone.instructions, rel=0.002)
    assert large.cycles == pytest.approx(alone.cycles, rel=0.02)
    assert small.estimated_latency_us < large.estimated_latency_us
    blocks = [{op.block for op in point.op_estimates} for point in points]
    assert blocks[0] == blocks[1] and len(blocks[0]) > 10


def test_ops_add_up_and_have_names(device: EstimatedDevice, small_tflite: Path) -> None:
    whole = _estimate(device, small_tflite)
    ops = _op_estimates(device, small_tflite)
    assert sum(op.estimated_us for op in ops) == pytest.approx(whole.estimated_latency_us)
    assert sum(op.instructions for op in ops) == whole.instructions
    assert all(0 <= op.wait_cycles <= op.cycles for op in ops)
    delegated = {op.op for op in ops if op.delegated}
    assert any("GEMM" in name for name in delegated) and any("DWConv" in name for name in delegated)
    # A matrix product takes most of a network's time, and no more cycles than instructions.
    products = [op for op in ops if "GEMM" in op.op]
    assert sum(op.cycles for op in products) < sum(op.instructions for op in products)


def test_four_cores_are_faster_than_one_and_slower_than_four_times(device: EstimatedDevice, small_tflite: Path) -> None:
    one, four = (_estimate(device, small_tflite, threads) for threads in (1, 4))
    assert one.estimated_latency_us / 4 < four.estimated_latency_us < one.estimated_latency_us
    assert four.cycles == one.cycles


@pytest.mark.parametrize(
    ("settings", "named"),
    [({"threads": 5}, "4 cores"), ({"cores": "big"}, "no cores to choose"), ({"cores": "0x1"}, "no cores")],
)
def test_settings_that_are_not_modelled_are_refused(
    device: EstimatedDevice, small_tflite: Path, settings: dict[str, object], named: str
) -> None:
    with (
        pytest.raises(RequestError, match=named),
        device.prepare([small_tflite], SETTINGS.evolve(**settings)),
    ):
        pass


def test_bench_never_calls_it_a_latency(device: EstimatedDevice, small_tflite: Path, tmp_path: Path) -> None:
    out = tmp_path / "r.json"
    done = CliRunner().invoke(cli, ["bench", str(small_tflite), "--device", DEVICE, "--out", str(out), "--profile"])
    assert done.exit_code == 0, done.output
    assert "Estimated for a Snapdragon 855" in done.output and "not measured" in done.output and "GEMM" in done.output
    point = load(out).points[0]
    assert point.quantity == "estimated_latency_us" and point.op_estimates
    assert '"latency_us"' not in out.read_text()
    estimate = json.loads(out.read_text())["points"][0]["rounds"][0]["estimate"]
    assert estimate["low_us"] < estimate["estimated_latency_us"] < estimate["high_us"]


@pytest.mark.parametrize("name", names())
def test_every_device_file_names_its_sources(name: str) -> None:
    model = find_device(name)
    assert all(cache.source for cache in model.caches)
    assert model.caches[0].bytes < model.caches[1].bytes <= model.caches[-1].bytes
    assert 0 < model.error.value < 0.5


@pytest.mark.parametrize("address", ["", "pixel-9", "../secret", "missing.yaml"])
def test_unknown_devices_are_refused(address: str) -> None:
    with pytest.raises(RequestError):
        open_device(f"estimate:{address}", DeviceOptions())


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("caches: []", "caches"),
        ("overlap_power: {value: 0.5, source: x}", "overlap_power"),
        ("mispredict_cycles: {value: 1e300, source: x}", "mispredict_cycles.value"),
        ("schedule: '--help'", "schedule"),
        ("clocks_ghz: [.nan]", "clocks_ghz.0"),
        ("x: [", "YAML"),
        ("x: " + "[" * 2000, "nested too deep|YAML"),
        ("x: 2026-13-01", "YAML"),
        ("x: !!int x", "YAML"),
    ],
)
def test_device_files_that_are_wrong_say_where(change: str, named: str) -> None:
    from android_bench.estimate import devices

    text = (Path(devices.__file__).parent / "devices" / "snapdragon-855.yaml").read_text()
    key = change.partition(":")[0]
    kept = [
        line for line in text.splitlines() if not line.startswith((f"{key}:", "  - {name" if key == "caches" else "\0"))
    ]
    with pytest.raises(RequestError, match=named):
        load_device("\n".join([*kept, change]).encode(), "mine.yaml")


@pytest.mark.parametrize("size", [0, 63, 64 * 3, 2**40])
def test_caches_that_the_tracer_cannot_follow_are_refused(size: int) -> None:
    with pytest.raises(ValidationError):
        Cache(name="L1", bytes=size, ways=4, cycles_per_line=0, source="x")


def test_a_device_file_without_end_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "endless.yaml"
    path.symlink_to("/dev/zero")
    with pytest.raises(RequestError, match="too large"):
        find_device(str(path))


def test_advice_by_an_estimate_is_called_estimated(device: EstimatedDevice, tmp_path: Path) -> None:
    """The whole command, on three layers; half precision is compared in the emulated processor's own arithmetic."""
    common = ["--model", "tests.kits.small_network:make", "--resolution", "32", "--device", DEVICE]
    done = CliRunner().invoke(cli, ["advise", *common, "--json"], catch_exceptions=False)
    document = json.loads(done.stdout)
    fp32, fp16, dynamic, int8 = document["options"]
    for option in (fp32, fp16, dynamic):
        assert option["estimated_latency_us"]["median"] > 0 and "latency_us" not in option
    assert 40 < fp16["sqnr_db"] < 80 and int8["refusal"] is not None
    assert document["device"]["kind"] == "estimate"
    assert "estimated" in document["advice"] or document["chosen"] == "fp32"
