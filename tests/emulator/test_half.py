"""fp16 on processors that compute in half precision: fewer instructions, right and finite outputs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from android_bench.emulator.cpus import CPUS
from android_bench.emulator.qemu import Qemu
from android_bench.emulator.root import EmulatorRoot
from android_bench.emulator.runtime import EmulatedRuntime
from converters.parity.stimuli import ImageStimulus, verification_stimuli
from evit_mobile.runtimes import RUNTIMES
from evit_mobile.specs import Precision, Preprocessing, Resolution

SMALL = Resolution(96, 96)


@pytest.fixture(scope="module")
def half_tflite(converted: Callable[..., Path]) -> Path:
    return converted("base-r192", resolution=SMALL, precision=Precision.FP16)


def test_armv8_2_needs_fewer_instructions(half_tflite: Path, small_tflite: Path, root: EmulatorRoot, a76: Qemu) -> None:
    """The A72 has no half-precision arithmetic: there the same file runs in float32. Eight numbers a register instead
    of four.
    """
    a72 = Qemu(root, CPUS["cortex-a72"], a76.release)
    half, older = a76.count(half_tflite, 2)[-1], a72.count(half_tflite, 2)[-1]
    assert half < 0.6 * older
    assert half < 0.6 * a76.count(small_tflite, 2)[-1]


def test_outputs_in_half_precision(half_tflite: Path, small_tflite: Path, a76: Qemu) -> None:
    """Against float32 on the host, extremes included. Values, weights and sums rounded to 11 bits (2**-11 = 4.9e-4)
    over 40 layers: at most 1e-2 of the largest output was seen; twice that is allowed.
    """
    stimuli = verification_stimuli(SMALL, 3, Preprocessing())
    stimuli.append(ImageStimulus("loud", stimuli[0].image * 100))
    with RUNTIMES["litert"].open(small_tflite) as host, EmulatedRuntime(a76).open(half_tflite) as session:
        for stimulus in stimuli:
            [expected], [actual] = host.run([stimulus.image]), session.run([stimulus.image])
            assert np.isfinite(actual).all(), stimulus.name
            np.testing.assert_allclose(
                actual, expected, rtol=0, atol=2e-2 * np.abs(expected).max(), err_msg=stimulus.name
            )
            assert not np.array_equal(actual, expected)
