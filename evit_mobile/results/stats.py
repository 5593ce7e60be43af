"""Statistics of measured rounds, by scipy.

Samples within a round share what happened to the machine in that round (clock, heat, where the memory landed), so they are
correlated, and a bootstrap over them would give intervals that are far too narrow. The unit here is the round, represented by its
median.

Intervals are percentile bootstraps of the median over rounds, expanded for small samples: with n rounds the 95 % quantiles of the
normal are replaced by ``sqrt(n / (n - 1))`` times those of Student's t with n - 1 degrees of freedom (T. Hesterberg, "What Teachers
Should Know About the Bootstrap", The American Statistician 69(4), 2015). The plain percentile interval of a median of ten covers
only 92 to 94 %; expanded it covers 95 to 97 %. With fewer than six rounds no interval of this kind can reach 95 %: there is none.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Sequence

import numpy as np
from numpy.typing import NDArray

#: Fewest rounds that can carry a 95 % interval: the range of five covers the median in 1 - 2 * 0.5**5 = 93.75 % of cases only.
MIN_ROUNDS = 6
CONFIDENCE = 0.95
RESAMPLES = 4999

#: Above these a result is called unstable: p10 to p90 relative to the median, and the trend over the rounds relative to the median.
MAX_SPREAD = 0.20
MAX_DRIFT = 0.05
#: A trend counts when rounds in random order would show one as strong this rarely.
DRIFT_P_VALUE = 0.01

Rounds = Sequence[Sequence[float]]


@dataclass(frozen=True)
class Interval:
    """A 95 % confidence interval, in the unit of what it belongs to."""

    low: float
    high: float

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high


@dataclass(frozen=True)
class Summary:
    """Rounds in a few numbers, in the unit of the samples.

    ``median`` is the median of the rounds' medians and ``interval`` its 95 % interval, None below MIN_ROUNDS rounds; ``p10`` and
    ``p90`` are percentiles of all samples together.
    """

    median: float
    interval: Interval | None
    p10: float
    p90: float
    samples: int
    rounds: int


@dataclass(frozen=True)
class Ratio:
    """How many times as much one model takes as another, from ``rounds`` pairs; ``interval`` is None below MIN_ROUNDS pairs."""

    value: float
    interval: Interval | None
    rounds: int

    @property
    def verdict(self) -> str | None:
        """``lower`` or ``higher`` where the interval excludes 1, else None: then nothing has been shown."""
        if self.interval is None or 1.0 in self.interval:
            return None
        return "lower" if self.value < 1 else "higher"


def summarise(rounds: Rounds) -> Summary:
    """Median with its interval, and percentiles.

    Args:
        rounds: at least one round of at least one sample each.
    """
    pooled = np.concatenate([np.asarray(samples, np.float64) for samples in rounds])
    medians = _medians(rounds)
    p10, p90 = np.percentile(pooled, [10, 90])
    return Summary(float(np.median(medians)), _interval_of_median(medians), float(p10), float(p90), pooled.size, len(rounds))


def paired_ratio(rounds: Rounds, baseline: Rounds) -> Ratio:
    """The ratio of ``rounds`` to ``baseline``, from rounds that were measured in turn.

    Method: round i of one is paired with round i of the other, so that what both shared (a warm machine, a busy neighbour) cancels.
    The value is exp of the median of the pairs' log ratios; the interval is exp of the ends of this median's interval, by the
    bootstrap over pairs that the module describes. Where one has more rounds (the other was interrupted) the surplus is left out.
    """
    pairs = min(len(rounds), len(baseline))
    logs = np.log(_medians(rounds[:pairs])) - np.log(_medians(baseline[:pairs]))
    interval = _interval_of_median(logs)
    bounds = Interval(math.exp(interval.low), math.exp(interval.high)) if interval is not None else None
    return Ratio(float(np.exp(np.median(logs))), bounds, pairs)


@dataclass(frozen=True)
class Growth:
    """The exponent b of y = a x^b; ``interval`` is None where there are fewer than three points."""

    exponent: float
    interval: Interval | None
    points: int


def growth(x: Sequence[float], y: Sequence[float]) -> Growth | None:
    """Fit y = a x^b by least squares on the logarithms; None with fewer than two different x.

    The interval is Student's, from what the points leave of the line: it tells how sure the exponent is both of the noise in y and
    of whether y is a power of x at all.
    """
    from scipy import stats

    if len(set(x)) < 2:
        return None
    fit = stats.linregress(np.log(x), np.log(y))
    if len(x) < 3:
        return Growth(float(fit.slope), None, len(x))
    reach = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(x) - 2) * fit.stderr)
    return Growth(float(fit.slope), Interval(float(fit.slope) - reach, float(fit.slope) + reach), len(x))


def instability(rounds: Rounds) -> str | None:
    """Why the samples should not be trusted, or None: they scatter too widely, or drift from the first round to the last.

    Scatter is (p90 - p10) / median of all samples. Drift is the Theil-Sen slope of the rounds' medians times the number of steps,
    relative to their median; it counts when Kendall's tau finds the trend significant.
    """
    from scipy import stats

    summary = summarise(rounds)
    spread = (summary.p90 - summary.p10) / summary.median
    if spread > MAX_SPREAD:
        return f"samples scatter: p10 to p90 spans {spread:.0%} of the median (more than {MAX_SPREAD:.0%})"
    medians = _medians(rounds)
    if len(medians) >= MIN_ROUNDS and np.ptp(medians) > 0:
        order = np.arange(len(medians))
        drift = float(stats.theilslopes(medians, order).slope) * (len(medians) - 1) / summary.median
        if abs(drift) > MAX_DRIFT and stats.kendalltau(order, medians).pvalue < DRIFT_P_VALUE:
            return f"rounds drift: {drift:+.0%} from the first to the last (more than {MAX_DRIFT:.0%})"
    return None


def _medians(rounds: Rounds) -> NDArray[np.float64]:
    return np.array([np.median(samples) for samples in rounds], np.float64)


def _interval_of_median(values: NDArray[np.float64]) -> Interval | None:
    """The expanded percentile interval of the median of ``values``; the same values give the same interval."""
    from scipy import stats

    count = len(values)
    if count < MIN_ROUNDS:
        return None
    tail = stats.norm.cdf(math.sqrt(count / (count - 1)) * stats.t.ppf((1 - CONFIDENCE) / 2, count - 1))
    result = stats.bootstrap(
        (values,), np.median, n_resamples=RESAMPLES, confidence_level=float(1 - 2 * tail), method="percentile",
        rng=np.random.default_rng(0),
    )  # fmt: skip
    return Interval(float(result.confidence_interval.low), float(result.confidence_interval.high))
