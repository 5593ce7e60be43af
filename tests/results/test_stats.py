"""Statistics on draws whose truth is known; benchmarks/statistics/coverage.py does the same at length, over many shapes
of draws.

Where no bounds are promised, tolerances on shares of experiments are three standard errors of a binomial share.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats as scipy_stats

from evit_mobile.results.stats import (
    DRIFT_P_VALUE,
    MIN_ROUNDS,
    Change,
    Interval,
    Ratio,
    change,
    growth,
    instability,
    paired_ratio,
    summarise,
)

EXPERIMENTS = 300
#: What is promised of 95 % intervals and of tests at 5 %, as shares of 2,000 experiments.
MANY = 2000
COVERAGE = (0.93, 0.97)
FALSE_ALARMS = (0.03, 0.07)
NO_INTERVAL = Interval(math.inf, -math.inf)


def _three_errors(share: float) -> float:
    return 3 * math.sqrt(share * (1 - share) / EXPERIMENTS)


def _rounds(
    rng: np.random.Generator, level: float, *, between: float = 0.02, within: float = 0.01, rounds: int = 10
) -> Any:
    """What the harness draws: each round has a level of its own, and its runs scatter about it upwards, as latencies
    do.
    """
    levels = level * rng.lognormal(0, between, (rounds, 1))
    return levels * rng.lognormal(0, within, (rounds, 5))


@pytest.mark.parametrize("rounds", [6, 7, 8, 10, 20])
def test_the_interval_of_a_median_covers_as_often_as_it_says(rounds: int) -> None:
    rng = np.random.default_rng(rounds)
    covered = sum(1e4 in (summarise(_rounds(rng, 1e4, rounds=rounds)).interval or NO_INTERVAL) for _ in range(MANY))
    assert COVERAGE[0] <= covered / MANY <= COVERAGE[1]


def test_the_interval_of_a_ratio_covers_as_often_as_it_says() -> None:
    rng = np.random.default_rng(11)
    covered = 0
    for _ in range(MANY):
        slowdown = rng.lognormal(0, 0.1, (10, 1))  # of the machine, which both feel
        ratio = paired_ratio(slowdown * _rounds(rng, 1.1e4), slowdown * _rounds(rng, 1e4))
        covered += 1.1 in (ratio.interval or NO_INTERVAL)
    assert COVERAGE[0] <= covered / MANY <= COVERAGE[1]


TOKENS = (196, 400, 784, 1600, 4096)


def test_the_interval_of_a_growth_exponent_covers_as_often_as_it_says() -> None:
    rng = np.random.default_rng(12)
    covered = 0
    for _ in range(MANY):
        slowdown = rng.lognormal(0, 0.1, (10, 1))  # of the machine, which all points of a round feel
        medians = [float(np.median(np.median(slowdown * _rounds(rng, 3.0 * count**1.9), axis=1))) for count in TOKENS]
        fitted = growth(TOKENS, medians)
        covered += fitted is not None and 1.9 in (fitted.interval or NO_INTERVAL)
    assert COVERAGE[0] <= covered / MANY <= COVERAGE[1]


@pytest.mark.parametrize("exponent", [1.0, 2.0])
def test_a_growth_exponent_is_that_of_the_curve(exponent: float) -> None:
    """To rounding where nothing scatters: of a correlation that rounds to 1 - 2**-53 the interval shows the root, 1e-8,
    a few times.
    """
    fitted = growth(TOKENS, [3.0 * count**exponent for count in TOKENS])
    assert fitted is not None and fitted.interval is not None
    assert fitted.exponent == pytest.approx(exponent, abs=1e-9)
    assert (fitted.interval.low, fitted.interval.high) == pytest.approx((exponent, exponent), abs=1e-6)
    two = growth(TOKENS[:2], [1.0, 2.0])
    assert two is not None and two.interval is None
    assert growth([196, 196], [1.0, 2.0]) is None


def test_a_change_of_nothing_is_called_one_as_seldom_as_promised() -> None:
    rng = np.random.default_rng(13)
    changes = [change(_rounds(rng, 1e4, rounds=8), _rounds(rng, 1e4)) for _ in range(MANY // 2)]
    alarms = [changed.p_value is not None and changed.p_value < 0.05 for changed in changes]
    assert FALSE_ALARMS[0] <= sum(alarms) / len(changes) <= FALSE_ALARMS[1]
    # The interval is the test turned round: it leaves 1 out where the test finds a change.
    assert [changed.interval is not None and 1.0 not in changed.interval for changed in changes] == alarms


def test_a_change_is_found_with_its_size() -> None:
    rng = np.random.default_rng(14)
    changes = [change(_rounds(rng, 1.1e4), _rounds(rng, 1e4)) for _ in range(50)]
    assert all(changed.p_value is not None and changed.p_value < 0.05 for changed in changes)
    assert np.mean([1.1 in (changed.interval or NO_INTERVAL) for changed in changes]) >= 0.9
    assert np.mean([changed.ratio for changed in changes]) == pytest.approx(1.1, abs=0.01)


def test_changes_of_counts_that_never_differ() -> None:
    assert change([[5.0]] * 8, [[5.0]] * 8) == Change(1.0, Interval(1.0, 1.0), 1.0)
    doubled = change([[10.0]] * 8, [[5.0]] * 8)
    assert doubled.ratio == pytest.approx(2.0) and doubled.p_value is not None and doubled.p_value < 0.001
    assert change([[10.0]] * 5, [[5.0]] * 8) == Change(pytest.approx(2.0), None, None)


def test_a_bootstrap_over_samples_would_not_cover() -> None:
    """Why the round is the unit: 50 correlated samples taken as independent give an interval that is right much too
    seldom.
    """
    rng = np.random.default_rng(2)
    covered = 0
    for _ in range(EXPERIMENTS):
        interval = scipy_stats.quantile_test(_rounds(rng, 1.0).ravel(), p=0.5).confidence_interval(0.95)
        covered += interval.low <= 1.0 <= interval.high
    assert covered / EXPERIMENTS < 0.85


def test_no_difference_is_seldom_called_one() -> None:
    rng = np.random.default_rng(3)
    alarms = sum(paired_ratio(_rounds(rng, 7e3), _rounds(rng, 7e3)).verdict is not None for _ in range(EXPERIMENTS))
    assert alarms / EXPERIMENTS <= 0.05 + _three_errors(0.05)


@pytest.mark.parametrize(("factor", "verdict"), [(0.9, "lower"), (1.1, "higher")])
def test_a_difference_is_found(factor: float, verdict: str) -> None:
    rng = np.random.default_rng(4)
    ratios = [paired_ratio(_rounds(rng, factor * 1e4), _rounds(rng, 1e4)) for _ in range(50)]
    assert all(ratio.verdict == verdict for ratio in ratios)
    # The median of ten log ratios of standard deviation sqrt(2) * 0.02 has a standard error of about 0.011; the mean of
    # 50 one of 0.0016.
    assert np.mean(np.log([ratio.value for ratio in ratios])) == pytest.approx(math.log(factor), abs=3 * 0.0016)


def test_what_both_share_cancels_in_a_ratio() -> None:
    """A machine that gets 40 % slower from round to round hides 3 % from unpaired medians, not from pairs."""
    rng = np.random.default_rng(5)
    slowdown = np.linspace(1, 1.4, 10)[:, None]
    a = slowdown * _rounds(rng, 0.97e4, between=0.002, within=0.002)
    b = slowdown * _rounds(rng, 1e4, between=0.002, within=0.002)
    alone_a, alone_b = summarise(a).interval, summarise(b).interval
    assert alone_a is not None and alone_b is not None and alone_a.high > alone_b.low
    assert paired_ratio(a, b).verdict == "lower"
    assert paired_ratio(b, a).verdict == "higher"


def test_numbers_that_can_be_done_by_hand() -> None:
    rounds = [[1.0, 2.0, 30.0], [4.0], [3.0, 5.0]]
    summary = summarise(rounds)
    assert summary.median == 4.0  # of 2, 4, 4
    assert (summary.samples, summary.rounds) == (6, 3)
    assert (summary.p10, summary.p90) == (1.5, 17.5)  # of 1, 2, 3, 4, 5, 30
    assert paired_ratio([[2.0], [6.0], [5.0]], [[1.0], [2.0], [5.0], [9.0]]) == Ratio(2.0, None, 3)


@pytest.mark.parametrize("count", range(1, MIN_ROUNDS))
def test_few_rounds_give_no_interval_and_no_verdict(count: int) -> None:
    rounds = [[10.0]] * count
    assert summarise(rounds).interval is None
    assert paired_ratio(rounds, [[20.0]] * count).verdict is None


def test_counts_that_never_differ() -> None:
    """Instruction counts may be the same each time: an interval of no width, not NaN."""
    rounds = [[182_700_000]] * 8
    assert summarise(rounds).interval == Interval(182_700_000, 182_700_000)
    ratio = paired_ratio(rounds, rounds)
    assert ratio.interval == Interval(1.0, 1.0) and ratio.verdict is None
    assert instability(rounds) is None


def test_the_same_samples_give_the_same_interval() -> None:
    rounds = _rounds(np.random.default_rng(6), 1e4)
    assert summarise(rounds) == summarise(rounds)


def test_quiet_rounds_are_stable() -> None:
    rng = np.random.default_rng(7)
    alarms = sum(instability(_rounds(rng, 1e4)) is not None for _ in range(EXPERIMENTS))
    assert alarms / EXPERIMENTS <= DRIFT_P_VALUE + _three_errors(DRIFT_P_VALUE)


def test_scatter_is_named() -> None:
    rounds = _rounds(np.random.default_rng(8), 1e4, within=0.3)
    assert "scatter" in (instability(rounds) or "")


@pytest.mark.parametrize("drift", [-0.12, 0.12])
def test_drift_is_named_with_its_direction(drift: float) -> None:
    rng = np.random.default_rng(9)
    rounds = np.linspace(1, 1 + drift, 10)[:, None] * _rounds(rng, 1e4, between=0.005, within=0.005)
    reason = instability(rounds) or ""
    assert "drift" in reason and f"{drift:+.0%}"[0] in reason
    assert instability(rng.permutation(rounds)) is None
