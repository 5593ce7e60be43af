"""Models with one fault each: verify must fail, and --layers must name the layer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from converters.parity.differences import CRITERIA, compare
from converters.parity.layers import LayerReport, find_parting_layer
from converters.parity.reference import Reference, SourceRequest, build_reference
from converters.parity.stimuli import plain_stimuli
from converters.parity.verify import verify_model
from evit_mobile.runtimes import RUNTIMES
from evit_mobile.specs import Precision, Resolution
from evit_mobile.tflite.description import read_description

Weights = NDArray[np.float32]


def _one_weight(values: Weights) -> None:
    """One weight far off, as a flipped bit of its exponent leaves it."""
    values.reshape(-1)[values.size // 2] += 32 * np.abs(values).max()


def _last_weight(values: Weights) -> None:
    """The last weight far off: of a q, k, v projection one of v, which no normalisation hides."""
    values.reshape(-1)[-1] += 32 * np.abs(values).max()


def _swap_outputs(values: Weights) -> None:
    """Two output channels exchanged; of a depthwise filter they are last."""
    axis = 3 if values.ndim == 4 and values.shape[0] == 1 else 0
    moved = np.moveaxis(values, axis, 0)
    moved[[0, 1]] = moved[[1, 0]]


def _swap_inputs(values: Weights) -> None:
    """Two input channels exchanged."""
    values[..., [0, 1]] = values[..., [1, 0]]


def _flip(values: Weights) -> None:
    """A 5x5 filter with its rows and columns exchanged."""
    values[:] = np.swapaxes(values, 1, 2).copy()


def _not_a_number(values: Weights) -> None:
    values.reshape(-1)[0] = np.nan


@pytest.fixture(scope="module")
def reference(small_tflite: Path) -> Reference:
    """base-r192 at 96x96; it does not depend on whether the graph was rewritten."""
    return build_reference(small_tflite, read_description(small_tflite), SourceRequest())


def _parting(model: Path, reference: Reference, *, rewritten: bool) -> LayerReport:
    """The layers of a model whose output on noise is checked to be wrong."""
    noise = plain_stimuli(reference.source, reference.stock)[0]
    (expected,) = reference.run(noise.inputs).values()
    (image,) = noise.inputs.values()
    with RUNTIMES["litert"].open(model) as session:
        (actual,) = session.run([np.ascontiguousarray(image.transpose(0, 2, 3, 1))])
    assert not CRITERIA[Precision.FP32].holds(compare(expected, actual))
    return find_parting_layer(model, reference, noise, 1e-4, failed=True, rewritten=rewritten)


FAULTS = [
    ("stages.0.1/depthwise/conv/Conv_depthwise_filter", _one_weight, "backbone.stages.0.1.depthwise.conv"),
    ("stages.0.1/depthwise/conv/Conv_depthwise_filter", _flip, "backbone.stages.0.1.depthwise.conv"),
    ("stages.1.0/shortcut/shortcut.1/Conv_conv_filter", _swap_inputs, "backbone.stages.1.0.shortcut.1"),
    ("stages.1.2/project/conv/Conv_conv_bias", _one_weight, "backbone.stages.1.2.project.conv"),
    ("stages.2.4/project/Conv_conv_filter", _swap_outputs, "backbone.stages.2.4.project"),
    ("stages.3.2/expand/Conv_conv_filter", _swap_outputs, "backbone.stages.3.2.expand"),
    ("head/classify/Gemm_fc_weights", _swap_outputs, "head.classify"),
]


@pytest.mark.parametrize("rewrite", [False, True])
@pytest.mark.parametrize("tensor, change, layer", FAULTS, ids=[f"{fault[2]}-{fault[1].__name__}" for fault in FAULTS])
def test_a_damaged_layer_is_named(
    converted: Callable[..., Path],
    damaged: Callable[..., Path],
    reference: Reference,
    tensor: str,
    change: Callable[[Weights], None],
    layer: str,
    rewrite: bool,
) -> None:
    model = damaged(converted("base-r192", resolution=Resolution(96, 96), rewrite=rewrite), tensor, change)
    assert _parting(model, reference, rewritten=rewrite).parted == layer


ATTENTION_FAULTS = [
    ("stages.2.1/qkv/Conv_conv_filter", _last_weight, "backbone.stages.2.1.qkv"),
    ("stages.2.1/proj/Conv_conv_filter", _swap_inputs, "backbone.stages.2.1.proj"),
    ("stages.3.3.norm.weight", _one_weight, "backbone.stages.3.3.norm"),
]


@pytest.mark.parametrize("tensor, change, layer", ATTENTION_FAULTS, ids=[fault[2] for fault in ATTENTION_FAULTS])
def test_damage_in_attention_as_exported(
    converted: Callable[..., Path],
    damaged: Callable[..., Path],
    reference: Reference,
    tensor: str,
    change: Callable[[Weights], None],
    layer: str,
) -> None:
    model = damaged(converted("base-r192", resolution=Resolution(96, 96), rewrite=False), tensor, change)
    assert _parting(model, reference, rewritten=False).parted == layer


def test_verify_fails_and_says_where(small_tflite: Path, damaged: Callable[..., Path]) -> None:
    report = verify_model(damaged(small_tflite, "stages.1.1/expand/conv/Conv_conv_filter", _swap_outputs), layers=True)
    assert not report.passed
    # The export is sound and is not blamed.
    assert {row.runtime for row in report.rows if not row.passed} == {"litert"}
    assert report.layers is not None and report.layers.parted == "backbone.stages.1.1.expand.conv"
    assert report.layers.op is not None and "CONV_2D" in report.layers.op
    # The block's input, which its shortcut passes on.
    assert report.layers.last_agreeing == "backbone.stages.1.1.shortcut"


def test_nan_is_found_and_placed(small_tflite: Path, damaged: Callable[..., Path]) -> None:
    model = damaged(small_tflite, "head/classify/Gemm_fc_bias", _not_a_number)
    report = verify_model(model, layers=True)
    assert not report.passed
    failure = report.worst().difference.failure
    assert failure is not None and "NaN at [0, 0]; 1 of 1000" in failure
    assert report.layers is not None and report.layers.parted == "head.classify"
