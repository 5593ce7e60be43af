"""The host device, with real models on the real runtime."""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest

from android_bench.device import DeviceOptions, open_device
from android_bench.host.device import MAX_RUNS_PER_ROUND, affinity, parse_cores, runs_per_round
from evit_mobile.errors import DeviceError, RequestError
from evit_mobile.results.record import RunSettings
from evit_mobile.runtimes import Runtime
from evit_mobile.runtimes.inputs import random_input

QUICK = RunSettings(runs=12, rounds=4, warmup_runs=2, min_time_s=0)


def test_a_round_holds_what_was_asked_for(small_tflite: Path) -> None:
    device = open_device("host")
    with device.prepare([small_tflite], QUICK) as prepared:
        measured = prepared.run(small_tflite)
    assert measured.latency_us is not None and len(measured.latency_us) == 3  # 12 runs over 4 rounds
    assert len(measured.warmup_us) == 2
    assert measured.init_us and measured.first_inference_us
    assert measured.cores_mask == hex(sum(1 << core for core in os.sched_getaffinity(0)))
    assert measured.instructions is None and measured.printed_latency is None


@pytest.mark.parametrize(
    ("runs", "min_time_s", "expected_us", "expected_runs"),
    [
        (50, 0.5, 20_000, 5),  # 2.5 runs of 20 ms fill a tenth of 0.5 s: the number of runs decides
        (51, 0.5, 20_000, 6),
        (50, 0.5, 1_000, 50),  # the time decides
        (50, 0.5, 2, MAX_RUNS_PER_ROUND),
        (50_000, 0.5, 2, 5_000),  # runs that were asked for are not cut
        (1, 0.0, 5, 1),
    ],
)
def test_runs_of_a_round(runs: int, min_time_s: float, expected_us: float, expected_runs: int) -> None:
    assert runs_per_round(RunSettings(runs=runs, rounds=10, min_time_s=min_time_s), expected_us) == expected_runs


def test_peak_memory_counts_the_model_in_every_round(small_tflite: Path) -> None:
    """The file's bytes are read and its weights are packed again by the delegate: never less than the file."""
    device = open_device("host")
    with device.prepare([small_tflite], QUICK) as prepared:
        for measured in [prepared.run(small_tflite) for _ in range(3)]:
            assert measured.peak_memory_bytes is not None
            assert measured.peak_memory_bytes > small_tflite.stat().st_size


def test_description_agrees_with_the_system() -> None:
    device = open_device("host")
    info = device.describe()
    assert (info.kind, info.emulated, info.abi) == ("host", False, os.uname().machine)
    assert len(info.cores) == psutil.cpu_count()
    assert info.soc in Path("/proc/cpuinfo").read_text() or info.soc == info.abi
    assert info.memory_bytes == psutil.virtual_memory().total
    assert os.uname().release in info.os_build
    [runtime] = device.components()
    assert (runtime.name, runtime.version) == ("ai-edge-litert", importlib.metadata.version("ai-edge-litert"))
    assert runtime.sha256 is not None
    with device.prepare([], QUICK) as prepared:
        assert prepared.conditions().load_average_1min is not None


def test_affinity_is_in_force_and_put_back(small_tflite: Path) -> None:
    before = os.sched_getaffinity(0)
    core = max(before)
    settings = QUICK.model_copy(update={"cores": f"{1 << core:x}"})
    device = open_device("host")
    with device.prepare([small_tflite], settings) as prepared:
        assert prepared.run(small_tflite).cores_mask == hex(1 << core)
    assert os.sched_getaffinity(0) == before
    with pytest.raises(KeyboardInterrupt), affinity({core}):
        assert os.sched_getaffinity(0) == {core}
        raise KeyboardInterrupt
    assert os.sched_getaffinity(0) == before


def test_cores_are_taskset_masks() -> None:
    assert parse_cores("all") is None
    assert parse_cores("1") == parse_cores("0x1") == {0}
    for text in ("", "0", "big", "-1", "0-3", "1" + "0" * 40):
        with pytest.raises(RequestError, match="cores"):
            parse_cores(text)


def test_unusable_models_are_refused_before_anything_is_measured(small_tflite: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.tflite"
    broken.write_bytes(small_tflite.read_bytes()[:5000])
    device = open_device("host")
    with pytest.raises(RequestError, match="broken.tflite"), device.prepare([small_tflite, broken], QUICK):
        pass


def test_a_model_that_loads_and_does_not_run_is_a_device_error(dividing_tflite: Path) -> None:
    device = open_device("host")
    with device.prepare([dividing_tflite], QUICK) as prepared, pytest.raises(DeviceError, match="does not run"):
        prepared.run(dividing_tflite)


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8", "uint8", "int32", "int64", "bool"])
def test_inputs_fit_the_type(dtype: str) -> None:
    array = random_input((2, 512), dtype)
    assert array.dtype == np.dtype(dtype) and array.shape == (2, 512)
    assert np.isfinite(array.astype(np.float64)).all()
    if array.dtype.itemsize == 1 and dtype != "bool":
        # 1024 draws of 256 values: the chance that an end is never drawn is (255 / 256) ** 1024, 2 % an end; the seed
        # is fixed.
        assert np.ptp(array.astype(int)) > 250
    if dtype in ("int32", "int64", "bool"):
        assert not array.any()


def test_a_runtime_in_a_process_of_its_own(small_tflite: Path, installed: Callable[[str], Runtime]) -> None:
    """Its library is the one that is hashed; its process times and measures itself."""
    runtime = installed("litert-latest")
    device, ours = open_device("host", DeviceOptions(runtime="litert-latest")), open_device("host")
    with device.prepare([small_tflite], QUICK) as prepared:
        measured = prepared.run(small_tflite)
    assert len(measured.values) == 3 and measured.first_inference_us
    assert measured.init_us and measured.peak_memory_bytes
    assert measured.peak_memory_bytes > small_tflite.stat().st_size
    [component] = device.components()
    assert f"{component.name} {component.version}" == runtime.version()
    assert component.sha256 is not None and component.sha256 != ours.components()[0].sha256
