"""Statistics of measured rounds, by scipy.

Samples within a round share the state of the machine in that round (clock, heat, memory placement). They are
correlated, so intervals over samples would be far too narrow. The unit of analysis is the round, represented by its
median.

Intervals are Hettmansperger and Sheather's for a median (Statistics & Probability Letters 4, 1986): between
neighbouring order statistics, whose exact coverage is binomial whatever the distribution, interpolated to 95 %. A
percentile bootstrap of a median can only land on order statistics and is inaccurate for the few rounds of a benchmark;
benchmarks/results/statistics.md compares both. With fewer than six rounds no interval of this kind reaches 95 %, so
none is given.
"""

from __future__ import annotations

import bisect
import math
from dataclasses import dataclass
from typing import Sequence

import numpy as np
from numpy.typing import NDArray

#: Fewest rounds that give a 95 % interval: the range of five covers the median in only 1 - 2 * 0.5**5 = 93.75 % of
#: cases.
MIN_ROUNDS = 6
CONFIDENCE = 0.95

#: A result above either limit is unstable: p10 to p90, and the trend over the rounds, both relative to the median.
MAX_SPREAD = 0.20
MAX_DRIFT = 0.05
#: A trend counts if rounds in random order would show one as strong with at most this probability.
DRIFT_P_VALUE = 0.01

Rounds = Sequence[Sequence[float]]


@dataclass(frozen=True)
class Interval:
    """A 95 % confidence interval, in the unit of its quantity."""

    low: float
    high: float

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high


@dataclass(frozen=True)
class Summary:
    """Summary of rounds, in the unit of the samples.

    ``median`` is the median of the rounds' medians and ``interval`` its 95 % interval, None below MIN_ROUNDS rounds;
    ``p10`` and ``p90`` are percentiles of all samples together.
    """

    median: float
    interval: Interval | None
    p10: float
    p90: float
    samples: int
    rounds: int


@dataclass(frozen=True)
class Ratio:
    """How many times as much one model takes as another, from ``rounds`` pairs; ``interval`` is None below MIN_ROUNDS
    pairs.
    """

    value: float
    interval: Interval | None
    rounds: int

    @property
    def verdict(self) -> str | None:
        """``lower`` or ``higher`` if the interval excludes 1, else None: then no difference has been shown."""
        if self.interval is None or 1.0 in self.interval:
            return None
        return "lower" if self.value < 1 else "higher"


@dataclass(frozen=True)
class Growth:
    """The exponent b of y = a x^b; ``interval`` is None for fewer than three points."""

    exponent: float
    interval: Interval | None
    points: int


@dataclass(frozen=True)
class Change:
    """The ratio of after to before. Interval and p-value are None below MIN_ROUNDS rounds on either side."""

    ratio: float
    interval: Interval | None
    p_value: float | None


def summarise(rounds: Rounds) -> Summary:
    """Median with its interval, and percentiles.

    Args:
        rounds: at least one round of at least one sample each.
    """
    pooled = np.concatenate([np.asarray(samples, np.float64) for samples in rounds])
    medians = _medians(rounds)
    p10, p90 = np.percentile(pooled, [10, 90])
    return Summary(
        float(np.median(medians)), _interval_of_median(medians), float(p10), float(p90), pooled.size, len(rounds)
    )


def paired_ratio(rounds: Rounds, baseline: Rounds) -> Ratio:
    """The ratio of ``rounds`` to ``baseline``, from rounds that were measured in turn.

    Method: round i of one is paired with round i of the other, so that shared disturbances (a warm machine, a busy
    neighbour) cancel. The value is exp of the median of the pairs' log ratios; the interval is exp of the ends of this
    median's interval over pairs. If one has more rounds (because the other was interrupted), the surplus is ignored.
    """
    pairs = min(len(rounds), len(baseline))
    logs = np.log(_medians(rounds[:pairs])) - np.log(_medians(baseline[:pairs]))
    interval = _interval_of_median(logs)
    bounds = Interval(math.exp(interval.low), math.exp(interval.high)) if interval is not None else None
    return Ratio(float(np.exp(np.median(logs))), bounds, pairs)


def growth(x: Sequence[float], y: Sequence[float]) -> Growth | None:
    """Fit y = a x^b by least squares on the logarithms; None with fewer than two different x.

    The interval is Student's, from the residuals. It covers both the noise in y and the deviation of y from a power
    law.
    """
    from scipy import stats

    if len(set(x)) < 2:
        return None
    fit = stats.linregress(np.log(x), np.log(y))
    if len(x) < 3:
        return Growth(float(fit.slope), None, len(x))
    reach = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(x) - 2) * fit.stderr)
    return Growth(float(fit.slope), Interval(float(fit.slope) - reach, float(fit.slope) + reach), len(x))


def change(after: Rounds, before: Rounds) -> Change:
    """How ``after`` differs from ``before``. They were measured at different times, so rounds cannot be paired.

    Method: the p-value is that of the two-sided Mann-Whitney test on the medians of the rounds; the ratio is exp of the
    Hodges-Lehmann shift of their logarithms, and its interval holds every ratio that the test would not reject at 5 %.
    """
    ours, theirs = np.log(_medians(after)), np.log(_medians(before))
    shifts = np.subtract.outer(ours, theirs).ravel()
    ratio = float(np.exp(np.median(shifts)))
    if min(len(ours), len(theirs)) < MIN_ROUNDS:
        return Change(ratio, None, None)
    low, high = _shifts_not_rejected(ours, theirs, np.unique(shifts))
    return Change(ratio, Interval(math.exp(low), math.exp(high)), _mann_whitney(ours, theirs))


def instability(rounds: Rounds) -> str | None:
    """Why the samples are not trustworthy, or None: they scatter too widely, or drift from the first round to the last.

    Scatter is (p90 - p10) / median of all samples. Drift is the Theil-Sen slope of the rounds' medians times the number
    of steps, relative to their median; it counts if Kendall's tau finds the trend significant.
    """
    summary = summarise(rounds)
    spread = (summary.p90 - summary.p10) / summary.median
    if spread > MAX_SPREAD:
        return f"samples scatter: p10 to p90 spans {spread:.0%} of the median (more than {MAX_SPREAD:.0%})"
    drift = drift_of(rounds)
    if drift is not None:
        return f"rounds drift: {drift:+.0%} from the first to the last (more than {MAX_DRIFT:.0%})"
    return None


def drift_of(rounds: Rounds) -> float | None:
    """How far the medians drift from the first round to the last, relative to their median; None where no drift is
    shown. See ``instability``.
    """
    from scipy import stats

    medians = _medians(rounds)
    if len(medians) < MIN_ROUNDS or np.ptp(medians) == 0:
        return None
    order = np.arange(len(medians))
    drift = float(stats.theilslopes(medians, order).slope) * (len(medians) - 1) / float(np.median(medians))
    shown = abs(drift) > MAX_DRIFT and stats.kendalltau(order, medians).pvalue < DRIFT_P_VALUE
    return drift if shown else None


def _medians(rounds: Rounds) -> NDArray[np.float64]:
    return np.array([np.median(samples) for samples in rounds], np.float64)


def _interval_of_median(values: NDArray[np.float64]) -> Interval | None:
    from scipy.stats import mstats

    if len(values) < MIN_ROUNDS:
        return None
    low, high = mstats.median_cihs(values, alpha=1 - CONFIDENCE)
    return Interval(float(low), float(high))


def _shifts_not_rejected(
    a: NDArray[np.float64], b: NDArray[np.float64], shifts: NDArray[np.float64]
) -> tuple[float, float]:
    """The smallest and largest shift of ``a`` against ``b`` that the test does not reject.

    ``shifts`` are those at which values change sides, in order.
    """
    # The test is asked between them, where nothing is tied.
    gaps = (shifts[1:] + shifts[:-1]) / 2
    middle = int(np.searchsorted(gaps, np.median(shifts)))

    def kept(gap: float) -> bool:
        return _mann_whitney(a - gap, b) > 1 - CONFIDENCE

    first = bisect.bisect_left(gaps[:middle], True, key=kept)
    last = bisect.bisect_left(gaps[middle:], True, key=lambda gap: not kept(gap)) + middle
    return float(shifts[first]), float(shifts[last])


def _mann_whitney(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    from scipy import stats

    if np.ptp(np.concatenate([a, b])) == 0:
        return 1.0
    return float(stats.mannwhitneyu(a, b).pvalue)
