"""float32's own rounding: measured where it is rounding, and no excuse for anything else."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from converters.parity.differences import CRITERIA, Difference, compare
from converters.parity.expected import Expected
from converters.parity.rounding import allowed, own_rounding
from converters.source.load import module_source
from evit_mobile.arrays import Array
from evit_mobile.specs import Precision, Resolution

NOISE = {"x": np.random.default_rng(0).standard_normal((1, 3, 8, 8), np.float32)}


def _cancelling(inputs: Mapping[str, Array]) -> dict[str, Array]:
    """x + 1000 - 1000: a float32 next to 1000 is 2**-14 away, so that x comes out up to 2**-15 off."""
    thousand = inputs["x"].dtype.type(1000)
    return {"y": inputs["x"] + thousand - thousand}


def _by_type(inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Twice as much in float64."""
    return {"y": inputs["x"] * inputs["x"].dtype.type(inputs["x"].dtype.itemsize // 4)}


def test_rounding_is_measured() -> None:
    expected = _cancelling(NOISE)
    assert 2**-16 < own_rounding(_cancelling, _cancelling, NOISE, expected)["y"] <= 2**-15


def test_another_function_in_float64_is_no_rounding() -> None:
    expected = _by_type(NOISE)
    # A change of the input by one unit in the last place moves the output as far, and no farther.
    largest = float(np.abs(NOISE["x"]).max())
    assert own_rounding(_by_type, _by_type, NOISE, expected)["y"] <= 2 * 2**-23 * largest


def test_zero_inputs_have_a_rounding_too() -> None:
    zeros = {"x": np.zeros((1, 4), np.float32)}
    identity = {"y": zeros["x"]}
    assert 0 < own_rounding(lambda inputs: {"y": inputs["x"]}, None, zeros, identity)["y"] <= 2**-23


def test_a_module_that_does_not_run_in_float64_has_the_response_alone() -> None:
    def failing(inputs: Mapping[str, Array]) -> dict[str, Array]:
        raise RuntimeError("expected scalar type Float but found Double")

    expected = _cancelling(NOISE)
    assert own_rounding(_cancelling, failing, NOISE, expected) == own_rounding(_cancelling, None, NOISE, expected)


@pytest.mark.parametrize(
    "error, magnitude, rounding, verdict",
    [
        (7.5e-9, 0.0, 3e-9, True),  # the reference is exactly 0
        (1e-3, 0.0, 3e-9, False),
        (1.9e-4, 1.0, 5e-5, True),  # beyond 1e-4, within eight roundings
        (1.0, 1.0, 5e-5, False),
        (0.5, 1.0, 0.1, None),  # float32 itself is off by a tenth: nothing can be said
    ],
)
def test_allowance(error: float, magnitude: float, rounding: float, verdict: bool | None) -> None:
    assert allowed(Difference(max_abs_error=error), magnitude, rounding) is verdict


def test_a_zero_is_as_exact_as_the_output_on_other_inputs() -> None:
    assert allowed(Difference(max_abs_error=4.7e-13), 0.0, 1e-14, largest=1.0) is True
    assert allowed(Difference(max_abs_error=1e-4), 0.0, 1e-14, largest=1.0) is False


def test_nan_is_never_allowed() -> None:
    assert allowed(compare(np.zeros(2, np.float32), np.array([0, np.nan], np.float32)), 0.0, 1.0) is False


@pytest.mark.parametrize(("error", "wrong"), [(1.0, True), (2e-2, False)])
def test_a_large_rounding_excuses_no_output_that_is_far_beyond_it(error: float, wrong: bool) -> None:
    """sin(5000 x): float32 next to 5000 is 2**-11 away, and one unit of x in its last place moves it by 6e-4."""
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, NOISE["x"].shape) for name in ("x", "y")]
    nodes = [helper.make_node("Mul", ["x", "factor"], ["angle"]), helper.make_node("Sin", ["angle"], ["y"])]
    factor = numpy_helper.from_array(np.array(5000, np.float32), "factor")
    model = helper.make_model(helper.make_graph(nodes, "g", values[:1], values[1:], [factor]), ir_version=8)
    model.opset_import[0].version = 17
    source = dataclasses.replace(module_source(nn.ReLU().eval(), Resolution(8, 8)), module=None)
    expected = Expected(source, model)
    expected.cases()
    case, criterion = expected.case("noise", NOISE), CRITERIA[Precision.FP32]
    difference = expected.difference(case, "y", case.outputs["y"] + np.float32(error))
    assert expected.contradicts(case, "y", difference, criterion) is wrong
