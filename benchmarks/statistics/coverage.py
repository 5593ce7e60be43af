"""How often intervals and tests of ``evit_mobile.results.stats`` are right, over simulated benches.

``python -m benchmarks.statistics.coverage --out benchmarks/results/statistics.md`` (about 5 minutes on one core).

A simulated bench is what the harness draws: rounds in turn, each with a level of its own (what the machine did in that
round), and within a round runs that follow one another (autoregressive, coefficient 0.5). Levels come from
distributions that benches have shown: symmetric, with rare slow rounds, skewed, and of two modes (two clocks).
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import signal, stats

from evit_mobile.results.stats import Interval, change, growth, paired_ratio, summarise

EXPERIMENTS = 2000
RUNS = 5
#: Of a median; of pairs and of changes; and how many benches of unlike things, whose share is told less sharply.
ROUNDS = (6, 7, 8, 10, 20)
FEWER_ROUNDS = (6, 10, 20)
UNLIKE = 500
TOKENS = (196, 400, 784, 1600, 4096)

Array = NDArray[np.float64]
Level = Callable[[np.random.Generator, int], Array]

#: Logarithms of a round's level, by the shape of their distribution.
LEVELS: dict[str, Level] = {
    "normal": lambda rng, count: rng.normal(0, 0.02, count),
    "heavy tails": lambda rng, count: 0.01 * rng.standard_t(3, count),
    "skewed": lambda rng, count: rng.exponential(0.02, count),
    "two modes": lambda rng, count: np.where(rng.random(count) < 0.3, 0.05, 0.0) + rng.normal(0, 0.01, count),
}


def bench(rng: np.random.Generator, rounds: int, level: Level) -> Array:
    """Latencies, shape (rounds, RUNS), about a level of 1."""
    noise = signal.lfilter([1.0], [1.0, -0.5], rng.normal(0, 0.01, (rounds, RUNS + 10)), axis=1)[:, 10:]
    return np.exp(level(rng, rounds)[:, None] + noise)


def truth(level: Level) -> float:
    """The median of a round's median, from 400,000 rounds."""
    return float(np.median(np.median(bench(np.random.default_rng(0), 400_000, level), axis=1)))


def bootstrap(medians: Array) -> Interval:
    """What is not used: the percentile bootstrap of the median, expanded for small samples (Hesterberg 2015)."""
    count = len(medians)
    tail = stats.norm.cdf(math.sqrt(count / (count - 1)) * stats.t.ppf(0.025, count - 1))
    interval = stats.bootstrap(
        (medians,),
        np.median,
        n_resamples=1999,
        confidence_level=1 - 2 * tail,
        method="percentile",
        rng=np.random.default_rng(0),
    )
    return Interval(float(interval.confidence_interval.low), float(interval.confidence_interval.high))


def medians_table() -> list[str]:
    """Coverage of the interval of a median, and of the bootstrap's, by shape and rounds."""
    lines = [
        "| level of a round | rounds | interval | width | bootstrap | width |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, level in LEVELS.items():
        actual = truth(level)
        for rounds in ROUNDS:
            rng = np.random.default_rng(rounds)
            benches = [bench(rng, rounds, level) for _ in range(EXPERIMENTS)]
            ours = [interval for samples in benches if (interval := summarise(samples.tolist()).interval) is not None]
            theirs = [bootstrap(np.median(samples, axis=1)) for samples in benches]
            cells = [f"{_covered(intervals, actual):.1%} | {_width(intervals):.2%}" for intervals in (ours, theirs)]
            lines.append(f"| {name} | {rounds} | {' | '.join(cells)} |")
    return lines


def pairs_table() -> list[str]:
    """Coverage of a paired ratio and of a growth exponent while the machine changes by 10 % from round to round."""
    lines = ["| level of a round | rounds | paired ratio | growth exponent |", "| --- | ---: | ---: | ---: |"]
    for name, level in LEVELS.items():
        for rounds in FEWER_ROUNDS:
            rng = np.random.default_rng(rounds)
            ratios, exponents = [], []
            for _ in range(EXPERIMENTS):
                machine = rng.lognormal(0, 0.1, (rounds, 1))
                ratio = paired_ratio(
                    (1.1 * machine * bench(rng, rounds, level)).tolist(), (machine * bench(rng, rounds, level)).tolist()
                )
                costs = [count**1.9 * machine * bench(rng, rounds, level) for count in TOKENS]
                fitted = growth(TOKENS, [float(np.median(np.median(cost, axis=1))) for cost in costs])
                ratios.append(ratio.interval or Interval(math.inf, math.inf))
                exponents.append((fitted.interval if fitted else None) or Interval(math.inf, math.inf))
            lines.append(f"| {name} | {rounds} | {_covered(ratios, 1.1):.1%} | {_covered(exponents, 1.9):.1%} |")
    return lines


def changes_table() -> list[str]:
    """How often two benches of the same thing are told apart, and two of things 3 % apart."""
    lines = ["| level of a round | rounds | false alarms | 3 % slower is found |", "| --- | ---: | ---: | ---: |"]
    for name, level in LEVELS.items():
        for rounds in FEWER_ROUNDS:
            rng = np.random.default_rng(rounds)
            found = {
                factor: [_differs(factor * bench(rng, rounds, level), bench(rng, rounds, level)) for _ in range(count)]
                for factor, count in ((1.0, EXPERIMENTS), (1.03, UNLIKE))
            }
            lines.append(f"| {name} | {rounds} | {np.mean(found[1.0]):.1%} | {np.mean(found[1.03]):.0%} |")
    return lines


def _differs(after: Array, before: Array) -> bool:
    p_value = change(after.tolist(), before.tolist()).p_value
    return p_value is not None and p_value < 0.05


def _covered(intervals: list[Interval], value: float) -> float:
    return float(np.mean([value in interval for interval in intervals]))


def _width(intervals: list[Interval]) -> float:
    return float(np.median([interval.high - interval.low for interval in intervals]))


def main() -> None:
    parser = argparse.ArgumentParser(description="How often intervals and tests are right, over simulated benches.")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    text = f"""# How often the statistics are right

{EXPERIMENTS:,} simulated benches a row, of {RUNS} runs a round that follow one another; made by
`python -m benchmarks.statistics.coverage`.
One standard error of a share of 95 % is 0.5 points, as it is of 5 %.

## 95 % intervals of a median

The interval is Hettmansperger and Sheather's; the bootstrap is the percentile one of the median over rounds, expanded
for small samples, which is not used: with few rounds it covers too often, most of all with seven, and it is
wider throughout.

{chr(10).join(medians_table())}

## Paired ratios and growth exponents

The machine's speed changes from round to round by 10 % (one standard deviation), for all that is measured in
that round.

{chr(10).join(pairs_table())}

## Changes between two files

Two-sided Mann-Whitney at 5 % over the medians of rounds, as `evit-mobile compare` does for one model. With few rounds
the test has few possible p-values, and keeps below 5 %. What no simulation of rounds knows is how much a machine
changes from one bench to the next.

{chr(10).join(changes_table())}
"""
    arguments.out.write_text(text)


if __name__ == "__main__":
    main()
