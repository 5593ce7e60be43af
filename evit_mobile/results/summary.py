"""What tables and pages show of a result: one row per point, and caveats on the kind of figures."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Iterator, Sequence

from evit_mobile.results.record import Point, Quantity, ResultSet, RunSettings
from evit_mobile.results.source import Source
from evit_mobile.results.stats import MIN_ROUNDS, Interval, Ratio, Summary, instability, paired_ratio, summarise
from evit_mobile.text import visible

#: How a quantity is shown: divisor, unit, title, and the words for significantly less and more.
_SHOWN: dict[Quantity, tuple[float, str, str, str, str]] = {
    "latency_us": (1e3, "ms", "Latency", "faster", "slower"),
    "instructions": (1e6, "M", "Instructions per inference", "fewer", "more"),
    "estimated_latency_us": (1e3, "ms", "Estimated latency", "estimated faster", "estimated slower"),
}


@dataclass(frozen=True)
class Row:
    """A point with its statistics; ``summary`` is None before the first round, ``ratio`` also for the baseline
    itself.
    """

    point: Point
    summary: Summary | None
    ratio: Ratio | None
    warnings: tuple[str, ...]
    label: str

    @property
    def verdict(self) -> str:
        """The comparison with the baseline in a word; empty if the ratio's interval contains 1 or is missing."""
        if self.ratio is None or self.ratio.verdict is None or self.point.quantity is None:
            return ""
        return verdict_of(self.point.quantity, self.ratio.value)


def summary_of(point: Point) -> Summary:
    """The statistics of a point's rounds; the interval of an estimate is what its error leaves open.

    Args:
        point: with at least one round.
    """
    summary = summarise(point.values)
    estimate = point.rounds[0].estimate
    return summary if estimate is None else replace(summary, interval=Interval(estimate.low_us, estimate.high_us))


def ratio_of(point: Point, baseline: Point) -> Ratio:
    """``point`` over ``baseline``, both with at least one round.

    Two estimates err by up to their intervals, taken as independent: the logarithms' half widths add as squares.
    """
    ratio = paired_ratio(point.values, baseline.values)
    halves = [
        math.log(estimate.high_us / estimate.low_us) / 2
        for estimate in (point.rounds[0].estimate, baseline.rounds[0].estimate)
        if estimate is not None
    ]
    if not halves:
        return ratio
    reach = math.exp(math.hypot(*halves))
    return replace(ratio, interval=Interval(ratio.value / reach, ratio.value * reach))


def rows(points: Sequence[Point]) -> list[Row]:
    """One row per point. Ratios are to the first point that has a round under the same settings."""
    baselines: dict[RunSettings, Point] = {}
    for point in points:
        if point.rounds:
            baselines.setdefault(point.settings, point)
    return [_row(point, baselines.get(point.settings), points) for point in points]


def label(point: Point, points: Sequence[Point]) -> str:
    """The point's name, and the settings that distinguish it from points of the same name."""
    others = [other.settings for other in points if other.name == point.name]
    parts = [point.name]
    if any(other.threads != point.settings.threads for other in others):
        parts.append(f"{point.settings.threads} thread{'s' if point.settings.threads > 1 else ''}")
    if any(other.cores != point.settings.cores for other in others):
        parts.append(f"cores {point.settings.cores}")
    return ", ".join(parts)


def caveats(results: ResultSet) -> list[str]:
    """What a reader has to know before the figures."""
    device, soc = results.device, visible(results.device.soc)
    if device.is_counted:
        return [
            f"Emulated: instructions per inference on an emulated {soc}. They are not a latency and not a Snapdragon "
            "figure."
        ]
    if device.is_estimated:
        return [f"Estimated for a {soc}, not measured: {_error(results.points)}. {visible(device.os_build)}."]
    if device.emulated:
        return [f"Emulated: {soc} is emulated by another machine. These are not Snapdragon figures."]
    if results.source is not None:
        return [_imported(results.source)]
    if device.is_host:
        return [f"Measured on the host CPU ({soc}, {visible(device.abi)}). These are not Snapdragon figures."]
    return []


def warnings(table: Sequence[Row]) -> list[str]:
    """The warnings and errors of all rows with the names of their points. A text that more than two points share is
    listed once.
    """
    labels_of: dict[str, list[str]] = {}
    for row in table:
        for text in row.warnings:
            labels_of.setdefault(text, []).append(row.label)
    return [
        visible(line)
        for text, labels in labels_of.items()
        for line in ([f"{text}: {'; '.join(labels)}"] if len(labels) > 2 else [f"{label}: {text}" for label in labels])
    ]


def warnings_of(point: Point) -> tuple[str, ...]:
    """Why a point has no figures, or why they are not trustworthy."""
    texts = [f"{point.limit}: {point.error}" if point.limit else point.error] if point.error else []
    if not point.rounds:
        return tuple(texts)
    if len(point.rounds) < point.settings.rounds:
        texts.append(f"stopped after {len(point.rounds)} of {point.settings.rounds} rounds")
    # Instruction counts and estimates repeat: more rounds would not make them more certain.
    if len(point.rounds) < MIN_ROUNDS and point.quantity == "latency_us":
        texts.append(f"fewer than {MIN_ROUNDS} rounds give no 95% interval")
    mask = point.rounds[0].cores_mask
    cores = int(mask, 16).bit_count() if mask is not None else point.settings.threads
    if cores < point.settings.threads:
        texts.append(f"{point.settings.threads} threads shared {cores} core{'s' if cores > 1 else ''}")
    if point.profile_error is not None:
        texts.append(f"no op profile: {point.profile_error}")
    reason = instability(point.values)
    if reason is not None:
        texts.append(f"unstable: {reason}")
    return tuple(texts)


def measured(results: ResultSet) -> str:
    """The quantity and the device in words: ``Latency on SM8150``, ``Instructions per inference, emulated
    Cortex-A76``.
    """
    if results.timeline is not None and results.timeline.turns:
        paced = results.timeline.period_us
        how = f"called every {paced / 1e3:g} ms" if paced is not None else "called without pause"
        return f"Latency over time, {how}, on {'emulated ' if results.device.emulated else ''}{results.device.soc}"
    quantity = next((point.quantity for point in results.points if point.quantity), None)
    if quantity is None:
        return f"Nothing measured on {results.device.soc}"
    if quantity == "estimated_latency_us":
        return f"{title(quantity)}, {results.device.soc}"
    emulated = "emulated " if results.device.emulated else ""
    return (
        f"{title(quantity)}, {emulated}{results.device.soc}"
        if emulated
        else f"{title(quantity)} on {results.device.soc}"
    )


def axis_title(results: ResultSet, quantity: Quantity) -> str:
    """What the quantity is called beside an axis: never an emulated count without saying so."""
    return title(quantity) if quantity == "latency_us" else measured(results)


def verdict_of(quantity: Quantity, ratio: float) -> str:
    """The word for a significant ratio: ``faster`` or ``slower``, of instructions ``fewer`` or ``more``."""
    _, _, _, fewer, more = _SHOWN[quantity]
    return fewer if ratio < 1 else more


def unit(quantity: Quantity) -> str:
    """The unit in which ``show`` gives values."""
    return _SHOWN[quantity][1]


def title(quantity: Quantity) -> str:
    """What the quantity is called above a table or a plot."""
    return _SHOWN[quantity][2]


def scale(quantity: Quantity, value: float) -> float:
    """``value`` of a sample (microseconds or instructions) in the unit in which it is shown."""
    return value / _SHOWN[quantity][0]


def show(quantity: Quantity, value: float) -> str:
    """``value`` of a sample in the shown unit, without it, with four significant digits."""
    return significant(scale(quantity, value))


def show_interval(quantity: Quantity, interval: Interval | None) -> str:
    """``low–high`` in the shown unit, or a dash where there is no interval."""
    return "–" if interval is None else f"{show(quantity, interval.low)}–{show(quantity, interval.high)}"


def significant_interval(interval: Interval | None, digits: int = 4) -> str:
    """``low–high`` of a ratio, or a dash where there is no interval."""
    return "–" if interval is None else f"{significant(interval.low, digits)}–{significant(interval.high, digits)}"


def significant(value: float, digits: int = 4) -> str:
    """``value`` > 0 with at least ``digits`` significant digits and never an exponent."""
    decimals = max(0, digits - 1 - math.floor(math.log10(value)))
    return f"{value:,.{decimals}f}"


def _imported(source: Source) -> str:
    forms = ", ".join(dict.fromkeys(file.form for file in source.files))
    soc = "The SoC was named at the import" if source.states_soc else "Nobody said which device it was"
    ran_on = f" It ran on {', '.join(map(visible, source.accelerators))}." if source.accelerators else ""
    return (
        f"Imported, not measured by evit-mobile: {visible(forms)}. {soc}. Cores, clocks, heat and load were not "
        f"recorded.{ran_on}"
    )


def _error(points: Sequence[Point]) -> str:
    """How wrong the estimates may be, in words."""
    estimate = next((entry.estimate for point in points for entry in point.rounds if entry.estimate is not None), None)
    if estimate is None:
        return "no estimate was made"
    error = estimate.high_us / estimate.estimated_latency_us - 1
    return f"the interval is ±{error:.0%}, the largest leave-one-out error against published latencies"


def _row(point: Point, baseline: Point | None, points: Sequence[Point]) -> Row:
    name = label(point, points)
    if not point.rounds:
        return Row(point, None, None, warnings_of(point), name)
    comparable = baseline is not None and baseline is not point and baseline.quantity == point.quantity
    ratio = ratio_of(point, baseline) if baseline is not None and comparable else None
    return Row(point, summary_of(point), ratio, (*warnings_of(point), *_scaling(point, points)), name)


def _scaling(point: Point, points: Sequence[Point]) -> Iterator[str]:
    """Threads that do not help may never have started. It shows if the same model was also measured with one
    thread.
    """
    for other in points:
        alone = other.name == point.name and other.settings.threads == 1 < point.settings.threads
        if (
            alone
            and other.rounds
            and other.settings.cores == point.settings.cores
            and other.quantity == point.quantity == "latency_us"
        ):
            if summarise(point.values).median >= summarise(other.values).median:
                yield f"{point.settings.threads} threads are no faster than one"
