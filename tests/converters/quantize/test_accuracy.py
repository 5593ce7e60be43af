"""A trained classifier in every precision. Oracle: what the digits on the canvases are.

The network has the paper's blocks and was trained by ``benchmarks/accuracy/train_digits.py``. int8 may cost half a
point and has to answer as fp32 does on 99 % of the canvases; fp16, in the half-precision arithmetic of Arm64, on 99.9
%.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.accuracy import digits
from benchmarks.accuracy.outputs import answers
from benchmarks.accuracy.precisions import extremes
from evit_mobile.specs import Precision

WEIGHTS = Path(__file__).resolve().parents[2] / "data" / "digits-pair.safetensors"
Convert = Callable[[Precision], Path]


@pytest.fixture(scope="module")
def convert(converted: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Convert:
    calibration = tmp_path_factory.mktemp("calibration") / "canvases.npz"
    np.savez(calibration, np.concatenate(list(digits.calibration())))

    def make(precision: Precision) -> Path:
        data = str(calibration) if precision is Precision.INT8 else None
        return converted("digits-pair", weights=WEIGHTS, precision=precision, calibration=data)

    return make


@pytest.fixture(scope="module")
def canvases() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The whole test split: model inputs and labels."""
    drawn = list(digits.test_canvases())
    return digits.inputs(drawn), np.array([canvas.label for canvas in drawn])


@pytest.fixture(scope="module")
def exact(convert: Convert, canvases: tuple[NDArray[np.float32], NDArray[np.int64]]) -> NDArray[np.float32]:
    """fp32's logits [N, 10]."""
    return answers(convert(Precision.FP32), (image[np.newaxis] for image in canvases[0]))


def test_no_digit_is_in_both_splits() -> None:
    train, test = (digits.digits_of(split)[0] for split in ("train", "test"))
    assert len(train) + len(test) == 1797
    assert not {image.tobytes() for image in train} & {image.tobytes() for image in test}


def test_the_network_has_learnt_and_needs_its_attention(
    exact: NDArray[np.float32], canvases: tuple[NDArray[np.float32], NDArray[np.int64]]
) -> None:
    from benchmarks.accuracy.train_digits import accuracy, without_attention
    from evit_mobile.models.registry import find_model
    from evit_mobile.weights import load_weights

    right = float((exact.argmax(1) == canvases[1]).mean())
    assert len(exact) >= 2000 and right >= 0.97
    module = find_model("digits-pair").build().eval()
    load_weights(module, WEIGHTS)
    assert accuracy(without_attention(module)) <= right - 0.1


@pytest.mark.parametrize(
    ("precision", "lost", "same"), [(Precision.DYNAMIC, 0.005, 0.99), (Precision.INT8, 0.005, 0.99)]
)
def test_accuracy_is_kept(
    precision: Precision,
    lost: float,
    same: float,
    convert: Convert,
    exact: NDArray[np.float32],
    canvases: tuple[NDArray[np.float32], NDArray[np.int64]],
) -> None:
    images, labels = canvases
    predicted = answers(convert(precision), (image[np.newaxis] for image in images)).argmax(1)
    assert (predicted == labels).mean() >= (exact.argmax(1) == labels).mean() - lost
    assert (predicted == exact.argmax(1)).mean() >= same


@pytest.mark.parametrize("precision", list(Precision))
def test_extremes_stay_finite(precision: Precision, convert: Convert) -> None:
    assert np.isfinite(answers(convert(precision), (item.image for item in extremes()))).all()
