"""The host with caps: a real model that may use too little memory or time ends as a result, and this process
goes on.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from android_bench.device import DeviceOptions, LimitError, open_device
from evit_mobile.errors import DeviceError
from evit_mobile.results.record import RunSettings
from evit_mobile.specs import Resolution

SETTINGS = RunSettings(runs=3, rounds=1, warmup_runs=1, min_time_s=0)
GIGABYTE = 1_000_000_000


@pytest.fixture
def layer(converted: Callable[..., Path]) -> Path:
    """One attention layer, which needs about 2 MB."""
    return converted("attention-linear", resolution=Resolution(14, 14))


def test_a_round_in_its_own_process_has_all_that_a_round_has(layer: Path) -> None:
    device = open_device("host", DeviceOptions(memory_limit_bytes=GIGABYTE))
    with device.prepare([layer], SETTINGS) as prepared:
        measured = prepared.run(layer)
    assert measured.latency_us is not None and len(measured.latency_us) == 3 and len(measured.warmup_us) == 1
    assert measured.init_us and measured.first_inference_us and measured.peak_memory_bytes and measured.cores_mask


def test_a_model_that_gets_too_little_memory_does_not_fit(layer: Path) -> None:
    device = open_device("host", DeviceOptions(memory_limit_bytes=500_000))
    with device.prepare([layer], SETTINGS) as prepared, pytest.raises(LimitError) as caught:
        prepared.run(layer)
    assert caught.value.limit == "does not fit"


def test_a_round_that_takes_too_long_is_timed_out(layer: Path) -> None:
    device = open_device("host", DeviceOptions(memory_limit_bytes=GIGABYTE, run_timeout_s=0.001))
    with device.prepare([layer], SETTINGS) as prepared, pytest.raises(LimitError) as caught:
        prepared.run(layer)
    assert caught.value.limit == "timed out"


def test_a_file_that_is_no_model_is_an_error_and_no_limit(tmp_path: Path) -> None:
    broken = tmp_path / "broken.tflite"
    broken.write_bytes(b"no model at all")
    device = open_device("host", DeviceOptions(memory_limit_bytes=GIGABYTE))
    with device.prepare([broken], SETTINGS) as prepared, pytest.raises(DeviceError) as caught:
        prepared.run(broken)
    assert not isinstance(caught.value, LimitError) and "Traceback" not in str(caught.value)
