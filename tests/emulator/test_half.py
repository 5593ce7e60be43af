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
from converters.quantize.dynamic import quantise_dynamic
from converters.quantize.half import halve
from converters.tflite.metadata import describe
from evit_mobile.runtimes import RUNTIMES
from evit_mobile.specs import Precision, Preprocessing, Resolution
from evit_mobile.tflite.file import Tflite

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


def test_int8_weights_beside_half_precision(half_tflite: Path, small_tflite: Path, a76: Qemu, tmp_path: Path) -> None:
    """XNNPACK takes hybrid layers in a graph of half precision: it stays far below the instructions of float32, which
    it would need if it refused, and below those of half precision alone. Its outputs keep what hybrid layers keep in
    float32, for which ``verify`` asks 18 dB.
    """
    file = Tflite.read(small_tflite)
    made = quantise_dynamic(file)
    unpacked = halve(made.tree)
    mix = tmp_path / "mix.tflite"
    description = file.description
    assert description is not None and unpacked
    described = description.model_copy(update={"precision": Precision.DYNAMIC, "half": True})
    mix.write_bytes(describe(made.tree, described, None, None))
    assert a76.count(mix, 2)[-1] < a76.count(half_tflite, 2)[-1] < 0.6 * a76.count(small_tflite, 2)[-1]
    image = verification_stimuli(SMALL, 3, Preprocessing())[0].image
    with RUNTIMES["litert"].open(small_tflite) as host, EmulatedRuntime(a76).open(mix) as session:
        [expected], [actual] = host.run([image]), session.run([image])
    noise = np.sum((actual.astype(np.float64) - expected) ** 2)
    assert 10 * np.log10(np.sum(expected.astype(np.float64) ** 2) / noise) >= 18


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
