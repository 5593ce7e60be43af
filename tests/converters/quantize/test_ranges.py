"""Ranges and weights in integers. Oracle: numpy on the values themselves."""

from __future__ import annotations

import numpy as np
import pytest

from converters.quantize.observe import BINS, Observation
from converters.quantize.ranges import RangeChoice, choose_range, parameters_of, squared_error
from converters.quantize.weights import corrected_bias, quantise_bias, quantise_weights


def observed(*batches: np.ndarray) -> Observation:
    observation = Observation()
    for batch in batches:
        observation.add(batch.astype(np.float32))
    return observation


def test_histogram_keeps_every_value_while_its_bins_double() -> None:
    rng = np.random.default_rng(0)
    batches = [scale * rng.standard_normal((4, 50, 3)) for scale in (1, 10, 0.1, 300)]
    observation = observed(*batches)
    values = np.concatenate([batch.reshape(-1) for batch in batches]).astype(np.float32)
    assert (observation.low, observation.high) == (values.min(), values.max())
    assert observation.counts.sum() == values.size and observation.counts.size == BINS
    edges = (np.arange(BINS + 1) - BINS // 2) * observation.width
    counted, _ = np.histogram(values, edges)
    assert np.abs(np.cumsum(counted) - np.cumsum(observation.counts)).max() <= 2  # values on an edge
    np.testing.assert_allclose(
        observation.channel_means, np.concatenate(batches).reshape(-1, 3).mean(0), rtol=1e-5, atol=1e-4
    )


@pytest.mark.parametrize("lowest", [-3.0, 0.0, -1e3, 1e3])
def test_what_lies_below_is_counted_as_the_lowest(lowest: float) -> None:
    values = 5 * np.random.default_rng(0).standard_normal((3, 40, 8))
    raised = observed(values).raised_to(lowest)
    expected = observed(np.maximum(values, lowest)) if lowest > values.min() else observed(values)
    assert (raised.low, raised.high) == (expected.low, expected.high)
    assert raised.counts.sum() == values.size
    if lowest <= values.max():
        errors = [squared_error(one, parameters_of(-3, 10)) for one in (raised, expected)]
        assert errors[0] == pytest.approx(errors[1], rel=0.05)


@pytest.mark.parametrize(("low", "high"), [(-1.0, 3.0), (0.0, 6.0), (0.5, 2.0), (-2.0, -1.0), (0.0, 0.0), (-1e-3, 1e4)])
def test_zero_is_exact_and_the_range_is_covered(low: float, high: float) -> None:
    parameters = parameters_of(low, high)
    assert -128 <= parameters.zero_point <= 127
    assert parameters.low <= min(low, 0) + parameters.scale and parameters.high >= max(high, 0) - parameters.scale


def test_mse_gives_less_error_than_min_max_where_there_are_outliers() -> None:
    """Laplace noise: the range that holds its extremes wastes steps."""
    values = np.random.default_rng(0).laplace(size=(100, 1000))
    observation = observed(values)
    errors = {
        choice: squared_error(observation, parameters_of(*choose_range([observation], choice)))
        for choice in RangeChoice
    }
    assert errors[RangeChoice.MSE] < 0.9 * errors[RangeChoice.MIN_MAX]
    parameters = parameters_of(*choose_range([observation], RangeChoice.MSE))
    exact = np.clip(np.round(values / parameters.scale) + parameters.zero_point, -128, 127)
    actual = np.sum((values - (exact - parameters.zero_point) * parameters.scale) ** 2)
    assert errors[RangeChoice.MSE] == pytest.approx(actual, rel=0.02)


@pytest.mark.parametrize("op_type", ["CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"])
def test_weights_are_within_half_a_step_per_channel(op_type: str) -> None:
    shape = {"CONV_2D": (8, 3, 3, 4), "DEPTHWISE_CONV_2D": (1, 3, 3, 8), "FULLY_CONNECTED": (8, 4)}[op_type]
    axis = 3 if op_type == "DEPTHWISE_CONV_2D" else 0
    weights = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    weights = np.moveaxis(np.moveaxis(weights, axis, -1) * np.logspace(-3, 3, 8, dtype=np.float32), -1, axis)
    quantised = quantise_weights(weights, op_type)
    steps = np.moveaxis(np.abs(quantised.dequantised() - weights), axis, -1) / quantised.scales
    assert steps.max() <= 0.501 and np.abs(quantised.values).max() == 127


def test_a_bias_that_would_not_fit_raises_its_channels_scale() -> None:
    weights = np.full((2, 1, 1, 4), 1e-9, np.float32)
    bias = np.array([1000.0, 0.0], np.float32)
    quantised = quantise_weights(weights, "CONV_2D", bias, 1e-3)
    integers, scales = quantise_bias(bias, 1e-3, quantised)
    np.testing.assert_allclose(integers * scales.astype(np.float64), bias, rtol=1e-6)


def test_bias_correction_of_a_grouped_convolution() -> None:
    """Two groups: the results are those of two convolutions on half of the channels each."""
    rng = np.random.default_rng(0)
    weights, means = rng.standard_normal((6, 1, 1, 4)), rng.uniform(1, 5, 8)
    quantised, zeros = quantise_weights(weights, "CONV_2D"), np.zeros(6)
    whole = corrected_bias(zeros, weights, quantised, means, "CONV_2D")
    for half in (0, 1):
        own, read = slice(3 * half, 3 * half + 3), means[4 * half : 4 * half + 4]
        part = corrected_bias(zeros[own], weights[own], quantise_weights(weights[own], "CONV_2D"), read, "CONV_2D")
        np.testing.assert_allclose(whole[own], part)


@pytest.mark.parametrize("op_type", ["CONV_2D", "DEPTHWISE_CONV_2D"])
def test_bias_correction_takes_the_mean_error_away(op_type: str) -> None:
    rng = np.random.default_rng(0)
    means = rng.uniform(1, 5, 6)
    inputs = means + 0.1 * rng.standard_normal((1000, 6))
    if op_type == "CONV_2D":
        weights = rng.standard_normal((3, 1, 1, 6))
        results = [inputs @ w[:, 0, 0].T for w in (weights, quantise_weights(weights, op_type).dequantised())]
    else:
        weights = rng.standard_normal((1, 1, 1, 6))
        results = [inputs * w[0, 0, 0] for w in (weights, quantise_weights(weights, op_type).dequantised())]
    correction = corrected_bias(
        np.zeros(len(results[0][0])), weights, quantise_weights(weights, op_type), means, op_type
    )
    before, after = (
        np.abs((results[1] - results[0]).mean(0)).max(),
        np.abs((results[1] + correction - results[0]).mean(0)).max(),
    )
    assert after < 0.2 * before
