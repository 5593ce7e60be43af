"""Mixed int8 and hybrid ops on processors without dot products (Cortex-A53), with them (A76), and with 8-bit matrix
products (max).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from android_bench.emulator.cpus import CPUS
from android_bench.emulator.qemu import Qemu
from android_bench.emulator.root import LITERT_RELEASES, EmulatorRoot
from android_bench.emulator.runtime import EmulatedRuntime
from converters.parity.stimuli import ImageStimulus, verification_stimuli
from evit_mobile.runtimes import RUNTIMES
from evit_mobile.specs import Precision, Preprocessing, Resolution

SMALL = Resolution(96, 96)


@pytest.fixture(scope="module")
def stimuli() -> list[ImageStimulus]:
    return verification_stimuli(SMALL, 3, Preprocessing())


@pytest.fixture(scope="module")
def int8_tflite(
    converted: Callable[..., Path], stimuli: list[ImageStimulus], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    data = tmp_path_factory.mktemp("calibration") / "inputs.npz"
    np.savez(data, images=np.concatenate([stimulus.image for stimulus in stimuli]))
    return converted("base-r192", resolution=SMALL, precision=Precision.INT8, calibration=str(data))


@pytest.fixture(scope="module")
def dynamic_tflite(converted: Callable[..., Path]) -> Path:
    return converted("base-r192", resolution=SMALL, precision=Precision.DYNAMIC)


@pytest.mark.parametrize("file", ["int8_tflite", "dynamic_tflite"])
@pytest.mark.parametrize("name", ["cortex-a53", "cortex-a76", "max"])
def test_outputs_are_those_of_the_host(
    name: str,
    file: str,
    root: EmulatorRoot,
    small_tflite: Path,
    stimuli: list[ImageStimulus],
    request: pytest.FixtureRequest,
) -> None:
    """Integer kernels are exact; the float parts between them round apart, which moves values to the next step of
    1/256, and random weights pass that on. So the outputs are not the same, but as far from float32 as the host's, all
    inputs together.
    """
    model: Path = request.getfixturevalue(file)
    errors: dict[str, list[np.ndarray]] = {"host": [], name: []}
    with (
        RUNTIMES["litert"].open(small_tflite) as full,
        RUNTIMES["litert"].open(model) as host,
        EmulatedRuntime(Qemu(root, CPUS[name], LITERT_RELEASES[0])).open(model) as session,
    ):
        for stimulus in stimuli:
            [reference], [expected], [actual] = (runtime.run([stimulus.image]) for runtime in (full, host, session))
            assert np.isfinite(actual).all(), stimulus.name
            errors["host"].append(expected - reference)
            errors[name].append(actual - reference)
    usual, found = (float(np.linalg.norm(np.concatenate(errors[place]))) for place in ("host", name))
    assert found <= 1.15 * usual


def test_dot_products_need_fewer_instructions(
    root: EmulatorRoot, a76: Qemu, int8_tflite: Path, small_tflite: Path
) -> None:
    a53 = Qemu(root, CPUS["cortex-a53"], a76.release)
    [with_dot], [without], [full] = a76.count(int8_tflite, 1), a53.count(int8_tflite, 1), a76.count(small_tflite, 1)
    assert with_dot < 0.6 * without
    assert with_dot < 0.7 * full
