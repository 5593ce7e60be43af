"""``calibrate`` on a virtual phone: its mechanics. What such a phone measures is the emulator's speed, and says nothing
of a core.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from android_bench.emulator.root import EmulatorRoot
from android_bench.estimate.calibrate import Observation, fit, kinds
from android_bench.estimate.devices import find_device
from android_bench.estimate.timing import Work, cost, total_us
from android_bench.estimate.tools import missing
from android_bench.estimate.trace import Level, Segment
from evit_mobile.results.record import OpTime
from tests.adb.conftest import Ended
from tests.virtual_device.phone import VirtualPhone


def _work(cycles: float, lines: int) -> Work:
    return Work("GEMM", True, Segment({}, 0, 0, 0, 0, (Level(0, 0), Level(0, 0), Level(lines, 0))), 1000, cycles)


def test_fit_finds_the_overlap_that_made_the_latencies() -> None:
    """Oracle: latencies made by the model itself with an overlap of 1.4; ops that only compute or only wait say nothing
    of it.
    """
    base = find_device("snapdragon-855")
    power = base.overlap_power.model_copy(update={"value": 1.4})
    true = base.model_copy(update={"overlap_power": power})
    observed = []
    for index in range(4):
        works = [_work(1e6 * (index + 1), 60_000), _work(4e5, 30_000 * (index + 1))]
        profile = (OpTime(op="GEMM", name="GEMM:0", partition=0, mean_us=1000.0, calls=1),)
        observed.append(Observation(f"n{index}", works, total_us([cost(work, true) for work in works]), profile))
    fitted = fit(observed, base, "mine")
    assert fitted.device.overlap_power.value == pytest.approx(1.4)
    assert fitted.device.error.value < 1e-3 and max(map(abs, fitted.errors.values())) < 1e-3
    [kind] = kinds(observed, fitted.device)
    assert kind.measured_us == 4000 and kind.estimated_us == pytest.approx(
        sum(entry.measured_us for entry in observed), rel=1e-3
    )
    slower = [dataclasses.replace(observed[0], measured_us=observed[0].measured_us * 1.5), *observed[1:]]
    assert fit(slower, base, "mine").device.error.value > 0.1


@pytest.mark.slow
@pytest.mark.skipif(bool(missing()), reason="; ".join(missing()))
def test_calibrate_writes_a_device_file(
    phone: VirtualPhone, evit: Callable[..., Ended], system: EmulatorRoot, tiny: Callable[[int], Path], tmp_path: Path
) -> None:
    models = [tiny(channels) for channels in (8, 16, 24)]
    out = tmp_path / "mine.yaml"
    common = ["--device", f"adb:{phone.serial}", "--cores", "all", "--rounds", 1, "--runs", 1, "--out", out]
    ended = evit("calibrate", *models, *common, "--benchmark-binary", system.runner, "--json")
    assert ended.code == 0, ended.err
    document = json.loads(ended.out)
    assert len(document["networks"]) == 3 and {"name", "error", "left_out"} == set(document["networks"][0])
    device = find_device(str(out))
    assert (
        device.overlap_power.value == document["overlap_power"]
        and "measured on this device" in device.overlap_power.source
    )
    assert device.caches == find_device("snapdragon-855").caches


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--device", "qemu:cortex-a76"), "no clock"),
        (("--device", "host", "a.tflite"), "at least 3 models"),
        (("--device", "host", "--like", "pixel"), "no estimated device"),
    ],
)
def test_what_cannot_be_calibrated_is_refused(
    evit: Callable[..., Ended], tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    ended = evit("calibrate", *arguments, "--out", tmp_path / "mine.yaml")
    assert ended.code == 2 and said in ended.err and not (tmp_path / "mine.yaml").exists()
