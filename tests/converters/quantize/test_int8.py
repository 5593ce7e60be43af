"""The product: base-r224 in int8. Oracles: the runtimes' own delegates, PyTorch's float model, and the file's size.

The figures of SQNR and size are those that the README promises; benchmarks/quantize measures them over more photographs
and seeds.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from benchmarks.accuracy.outputs import answers, sqnr_db
from benchmarks.photos import crops
from benchmarks.quantize.calibrated import calibrated_weights
from converters.parity.stimuli import verification_stimuli
from converters.parity.verify import verify_model
from converters.tflite.inspection import inspect_model
from evit_mobile.arrays import Float32Array
from evit_mobile.runtimes import Runtime
from evit_mobile.runtimes.litert import LITERT
from evit_mobile.specs import IoType, Precision, Preprocessing, Resolution
from evit_mobile.tflite.description import read_description

SIDE = 224
#: Of logits of calibrated weights that are not trained.
LEAST_DB = 20


def normalised(pictures: Float32Array) -> Float32Array:
    return ((pictures / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]).astype(np.float32)


@pytest.fixture(scope="module")
def calibration(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("calibration") / "photographs.npz"
    np.savez(path, np.concatenate(list(crops(SIDE, 16, held_out=False))))
    return str(path)


@pytest.fixture(scope="module")
def int8(converted: Callable[..., Path], calibration: str) -> Path:
    return converted("base-r224", precision=Precision.INT8, calibration=calibration)


@pytest.mark.parametrize("name", ["litert", "litert-latest"])
def test_one_partition_and_nothing_outside(name: str, int8: Path, installed: Callable[[str], Runtime]) -> None:
    inspection = inspect_model(int8, installed(name), explain=False)
    assert (inspection.partitions, len(inspection.undelegated)) == (1, 0)


def test_ops_and_boundaries(int8: Path) -> None:
    inspection = inspect_model(int8, LITERT, explain=False)
    kinds = Counter((op.type, op.precision) for op in inspection.ops)
    # The last map, and the shortcut between two residual streams in float.
    assert (kinds["CONV_2D", "int8"], kinds["CONV_2D", "float32, int8 weights"]) == (65, 2)
    assert kinds["DEPTHWISE_CONV_2D", "int8"] == inspection.op_counts["DEPTHWISE_CONV_2D"] == 17
    assert kinds["FULLY_CONNECTED", "float32, int8 weights"] == inspection.op_counts["FULLY_CONNECTED"] == 2
    assert "AVERAGE_POOL_2D" not in inspection.op_counts
    boundaries = [
        op
        for op in inspection.ops
        if op.type in ("QUANTIZE", "DEQUANTIZE") and (op.reason or "").startswith("boundary")
    ]
    assert len(boundaries) <= 2 * 14 + 5 * 7 + 3  # two a normalised block, three more an attention, the model's ends


def test_every_op_has_a_reason_and_the_file_knows_its_calibration(int8: Path) -> None:
    description = read_description(int8)
    assert description is not None and description.quantisation is not None
    assert (
        description.quantisation.calibration_images == 16
        and len(description.quantisation.calibration_sha256 or "") == 64
    )
    plan = json.loads(int8.with_suffix(".json").read_text())["plan"]
    inspection = inspect_model(int8, LITERT, explain=False)
    assert [op.reason for op in inspection.ops] == [item["reason"] for item in plan]
    assert all(op.reason for op in inspection.ops)


def test_denominators_stay_float(int8: Path) -> None:
    inspection = inspect_model(int8, LITERT, explain=False)
    for op in inspection.ops:
        if op.type in ("DIV", "SQRT", "BATCH_MATMUL", "SUM"):
            assert op.precision == "float32", op.name


def test_size(int8: Path, base_r224_tflite: Path) -> None:
    assert int8.stat().st_size <= 0.30 * base_r224_tflite.stat().st_size


def test_signal_to_noise_on_photographs(
    converted: Callable[..., Path], calibration: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The logits of 16 photographs that calibration did not see; benchmarks/results/int8_ablation.md has five seeds of
    weights.

    Trained weights keep 32.8 dB (benchmarks/results/accuracy.md).
    """
    weights = calibrated_weights("base-r224", SIDE, 0, tmp_path_factory.mktemp("weights") / "calibrated.safetensors")
    exact = converted("base-r224", weights=weights)
    int8 = converted("base-r224", weights=weights, precision=Precision.INT8, calibration=calibration)
    images = list(crops(SIDE, 16, held_out=True))
    assert sqnr_db([answers(exact, images)], [answers(int8, images)]) >= LEAST_DB


@pytest.mark.parametrize("value", [0.0, 255.0, "hot pixel", "noise x 100"])
def test_extreme_inputs_stay_finite(value: float | str, int8: Path) -> None:
    image = (
        np.zeros((1, SIDE, SIDE, 3), np.float32)
        if isinstance(value, str)
        else np.full((1, SIDE, SIDE, 3), value, np.float32)
    )
    image = normalised(image)
    if value == "hot pixel":
        image[0, 100, 100] = 2.6
    elif value == "noise x 100":
        image = (100 * np.random.default_rng(0).standard_normal(image.shape)).astype(np.float32)
    for xnnpack in (True, False):
        with LITERT.open(int8, xnnpack=xnnpack) as session:
            (logits,) = session.run([image])
        assert np.isfinite(logits).all() and np.abs(logits).max() > 0


def test_verify_passes_by_power(int8: Path) -> None:
    report = verify_model(int8)
    assert report.passed and report.criterion.measure == "sqnr_db"


@pytest.mark.parametrize("io_type", [IoType.INT8, IoType.UINT8])
def test_integer_ends(io_type: IoType, converted: Callable[..., Path], tmp_path: Path) -> None:
    """The ends have the type asked for, and verify, which quantises and dequantises there, still passes."""
    side = 96
    stimuli = verification_stimuli(Resolution(side, side), 3, Preprocessing())
    np.savez(tmp_path / "small.npz", np.concatenate([stimulus.image for stimulus in stimuli]))
    model = converted(
        "base-r192",
        resolution=Resolution(side, side),
        precision=Precision.INT8,
        calibration=str(tmp_path / "small.npz"),
        io_type=io_type,
    )
    inspection = inspect_model(model, LITERT, explain=False)
    assert [tensor.dtype for tensor in (*inspection.inputs, *inspection.outputs)] == [io_type.value] * 2
    assert inspection.partitions <= 2 and len(inspection.undelegated) <= 2
    assert [tensor.name for tensor in inspection.outputs] == ["logits"]
    assert verify_model(model).passed


def test_dynamic_is_one_partition(converted: Callable[..., Path]) -> None:
    """Stock dynamic-range conversion leaves hybrid depthwise convolutions outside, in 17 partitions."""
    model = converted("base-r192", resolution=Resolution(96, 96), precision=Precision.DYNAMIC)
    inspection = inspect_model(model, LITERT, explain=False)
    assert (inspection.partitions, len(inspection.undelegated)) == (1, 0)
    kinds = Counter((op.type, op.precision) for op in inspection.ops if op.weight_bytes and "CONV" in op.type)
    # The first convolution has a PAD before it, which the delegate folds into the float form alone.
    assert kinds.keys() == {
        ("CONV_2D", "float32"),
        ("CONV_2D", "float32, int8 weights"),
        ("DEPTHWISE_CONV_2D", "float32"),
    }
    assert kinds["CONV_2D", "float32"] == 1
    assert verify_model(model).passed
