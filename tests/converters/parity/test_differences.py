"""Judging one output: against closed forms, and on the values that comparisons get wrong."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from converters.parity.differences import CRITERIA, Criterion, compare, without_ties
from evit_mobile.specs import Precision


def test_figures_against_torch() -> None:
    rng = np.random.default_rng(0)
    reference = rng.standard_normal((1, 1000)).astype(np.float32)
    actual = (reference + 0.01 * rng.standard_normal((1, 1000))).astype(np.float32)
    difference = compare(reference, actual)
    left, right = torch.from_numpy(reference).double(), torch.from_numpy(actual).double()
    assert difference.max_abs_error == pytest.approx(float((left - right).abs().max()))
    assert difference.relative_error == pytest.approx(float((left - right).abs().max() / left.abs().max()))
    assert difference.cosine == pytest.approx(float(torch.cosine_similarity(left, right)), abs=1e-12)
    # Noise of a hundredth of the signal's deviation is 40 dB below it; 1000 draws tell that within 1 dB.
    assert difference.sqnr_db == pytest.approx(40, abs=1)
    assert difference.top1_agrees == bool(left.argmax() == right.argmax())
    assert difference.within(0.1) and not difference.within(1e-4)


def test_equal_is_perfect() -> None:
    values = np.arange(1, 9, dtype=np.float32).reshape(1, 8)
    difference = compare(values, values)
    assert (difference.relative_error, difference.sqnr_db, difference.top1_agrees, difference.top5_agreement) == (
        0,
        None,
        True,
        1,
    )
    assert difference.cosine == pytest.approx(1)


def test_zero_outputs() -> None:
    zeros, ones = np.zeros((1, 4), np.float32), np.ones((1, 4), np.float32)
    assert compare(zeros, zeros).within(1e-4)
    against_zero = compare(zeros, ones)
    assert not against_zero.within(np.inf) and "zero everywhere" in str(against_zero.failure)
    assert compare(ones, zeros).relative_error == 1


@pytest.mark.parametrize("value, word", [(np.nan, "NaN"), (np.inf, "infinity"), (-np.inf, "infinity")])
@pytest.mark.parametrize("where", ["reference", "output", "both"])
def test_not_finite_is_a_failure_wherever_it_is(value: float, word: str, where: str) -> None:
    sound = np.ones((1, 2, 3), np.float32)
    broken = sound.copy()
    broken[0, 1, 2] = value
    difference = compare(sound if where == "output" else broken, sound if where == "reference" else broken)
    assert not difference.within(np.inf)
    assert difference.failure is not None and word in difference.failure and "[0, 1, 2]; 1 of 6" in difference.failure


def test_another_shape_is_a_failure() -> None:
    difference = compare(np.ones((1, 4), np.float32), np.ones((4, 1), np.float32))
    assert difference.failure == "shape [4, 1], expected [1, 4]"


def test_top_classes() -> None:
    reference = np.array([[9, 8, 7, 6, 5, 1, 0]], np.float32)
    swapped = np.array([[8, 9, 7, 6, 0, 1, 5]], np.float32)
    difference = compare(reference, swapped)
    assert (difference.top1_agrees, difference.top5_agreement) == (False, 0.8)
    assert compare(reference[:, :, None], swapped[:, :, None]).top1_agrees is None


def test_every_precision_has_a_criterion() -> None:
    assert CRITERIA.keys() == set(Precision)
    assert CRITERIA[Precision.FP32] == Criterion("relative_error", 1e-4)


def test_integers_are_judged_by_power() -> None:
    """Noise of a tenth of the signal's deviation: 20 dB, though single values are off by far more."""
    rng = np.random.default_rng(0)
    expected = rng.standard_normal((1, 10_000))
    near, far = (compare(expected, expected + share * rng.standard_normal(expected.shape)) for share in (0.1, 0.5))
    criterion = CRITERIA[Precision.INT8]
    assert criterion.holds(near) and not criterion.holds(far)
    assert criterion.holds(compare(expected, expected))
    assert not criterion.holds(compare(expected, np.full_like(expected, np.nan)))
    assert criterion.figure(far) == f"SQNR {far.sqnr_db:.1f} dB, expected at least 7"


def test_class_numbers_are_judged_by_how_many_differ() -> None:
    """One place of 20,000 is within 1e-4 however far apart the two numbers are; three are not."""
    expected = np.zeros((100, 200), np.int64)
    actual = expected.copy()
    actual[3, 4] = 18
    assert compare(expected, actual).relative_error == pytest.approx(5e-5)
    assert CRITERIA[Precision.FP32].holds(compare(expected, actual))
    actual[:3, 0] = 1
    assert not CRITERIA[Precision.FP32].holds(compare(expected, actual))


def test_booleans_are_judged_by_how_many_differ() -> None:
    reference = np.array([[True, False, True, True]])
    assert compare(reference, ~reference).relative_error == 1
    assert compare(reference, reference).within(1e-4)


def test_classes_that_score_alike_are_no_difference() -> None:
    """Scores up to 10 that may be off by 1e-4 of that: two within 2e-3 of each other may swap, a third of them
    may not.
    """
    scores = np.array([[10.0, 9.999, 0.0], [10.0, 9.997, 0.0], [10.0, 9.999, 0.0], [10.0, 9.999, 0.0]])
    expected, actual = np.array([0, 0, 0, 0]), np.array([1, 1, 2, 7])
    assert without_ties(expected, actual, scores, 1e-4).tolist() == [0, 1, 2, 7]
