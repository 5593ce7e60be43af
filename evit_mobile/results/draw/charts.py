"""Every chart of a result file, in one form: what it is called, what it says in words and in a table, and how it is
drawn.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import Callable

from evit_mobile.results.draw.chart import Chart
from evit_mobile.results.draw.curve_plot import curve_plot
from evit_mobile.results.draw.estimate_charts import estimate_charts
from evit_mobile.results.draw.interval_plot import Form, Theme, interval_plot
from evit_mobile.results.draw.time_plot import TimePlot, time_plot
from evit_mobile.results.judge.curves import Curve, CurvePoint, Series, curves
from evit_mobile.results.record import ResultSet
from evit_mobile.results.stats import Interval
from evit_mobile.results.summary import (
    Row,
    axis_title,
    caveats,
    measured,
    rows,
    scale,
    show,
    show_interval,
    significant,
    unit,
)
from evit_mobile.results.timeline import Timeline
from evit_mobile.results.timeline_words import TIME_HEADER, in_one_line, time_cells

INTERVALS_CAPTION = (
    "Large dot: median. Thick bar: its 95% interval. Thin line: p10 to p90 of all samples. Small dots: the medians of "
    "the rounds, the "
    "first on top."
)
ESTIMATES_CAPTION = (
    "Dot: the estimate. Bar: the interval that its error against published latencies allows. Nothing was measured."
)
ESTIMATED_CURVE_CAPTION = (
    "Estimates with the intervals that their error against published latencies allows, on logarithmic axes. Nothing "
    "was measured. A cross marks a missing value; the reason is beside it."
)
#: Of a chart of intervals, measured or estimated: caption, what its large dots are, and what they are with their bars.
_INTERVAL_WORDS = {
    False: (INTERVALS_CAPTION, "median", "median with 95% interval"),
    True: (ESTIMATES_CAPTION, "estimate", "estimate with the interval of its error"),
}
_INTERVAL_HEADER = (
    "95% low", "95% high", "p10", "p90", "rounds", "samples", "ratio to the first", "ratio 95% low", "ratio 95% high",
)  # fmt: skip
CURVE_CAPTION = (
    "Medians with 95% intervals over rounds, on logarithmic axes. A cross marks a missing value; the reason is "
    "beside it."
)
TIME_CAPTION = (
    "Each point is the median of the calls in one window of time; the band spans p10 to p90. Below, what the device "
    "said of itself at the same times. A latency far beyond the others is cut off; its figure is in the table."
)
COUNTS_CAPTION = "Counted, not measured; logarithmic axes."


def charts(results: ResultSet) -> list[Chart]:
    """A timeline; the curves of a suite; of any other result its medians with their intervals, if there are any; of
    estimates what they are of.
    """
    if results.timeline is not None:
        return _time_charts(results, results.timeline)
    measured = [_curve_chart(curve, results) for curve in curves(results)] or _interval_charts(results)
    return [*measured, *estimate_charts(results)]


def _time_charts(results: ResultSet, timeline: Timeline) -> list[Chart]:
    if not any(turn.windows for turn in timeline.turns):
        return []
    plot = TimePlot(timeline, results.device)
    heading = measured(results)

    def draw(theme: Theme, form: Form, *, titled: bool) -> bytes:
        return time_plot(plot, theme, form, (heading, *_where(results)) if titled else ())

    alt = f"{heading}: {in_one_line(results)}"
    cells = tuple(time_cells(timeline))
    return [Chart("over-time", heading, TIME_CAPTION, alt, (), TIME_HEADER, cells, draw)]


def _curve_chart(curve: Curve, results: ResultSet) -> Chart:
    axes = [_heading(axis.label, axis.unit) for axis in (curve.x, curve.y)]
    bounds = ("low", "high") if results.device.is_estimated else ("95% low", "95% high")
    header = ("series", *axes, *bounds, "rounds", "mark", "note")
    cells = tuple(
        (series.name, point.x, point.value, *_bounds(point.interval), point.rounds or None, point.mark, point.note)
        for series in curve.series
        for point in series.points
    )
    counted = not any(point.rounds or point.mark for series in curve.series for point in series.points)
    alt = f"{curve.y.label} against {curve.x.label.lower()}. " + " ".join(
        _in_words(series, curve) for series in curve.series
    )
    if curve.band is not None:
        alt += f" {curve.band.label}: {curve.band.low:g} to {curve.band.high:g}."

    def draw(theme: Theme, form: Form, *, titled: bool) -> bytes:
        return curve_plot(curve, theme, form, (curve.title, *([] if counted else _where(results))) if titled else ())

    notes = (*curve.notes, *(text for series in curve.series for text in _exponent(series, curve)))
    caption = ESTIMATED_CURVE_CAPTION if results.device.is_estimated else CURVE_CAPTION
    return Chart(curve.key, curve.title, COUNTS_CAPTION if counted else caption, alt, notes, header, cells, draw)


def _exponent(series: Series, curve: Curve) -> Iterator[str]:
    growth = series.growth
    if growth is not None:
        sure = (
            f" (95% interval {growth.interval.low:.2f} to {growth.interval.high:.2f})"
            if growth.interval is not None
            else ""
        )
        power = f"to the power {growth.exponent:.2f}{sure}"
        yield f"{series.name}: grows with {curve.x.label.lower()} {power}, from {growth.points} points."


def _in_words(series: Series, curve: Curve) -> str:
    ends = [f"{_place(point)}: {_value(point, curve.y.unit)}" for point in series.points]
    grown = f", exponent {series.growth.exponent:.2f}" if series.growth is not None else ""
    return f"{series.name}{grown}: {', '.join(ends)}."


def _place(point: CurvePoint) -> str:
    return f"{point.x:g}"


def _value(point: CurvePoint, unit: str) -> str:
    return f"{significant(point.value)} {unit}".rstrip() if point.value is not None else str(point.mark)


def _interval_charts(results: ResultSet) -> list[Chart]:
    shown = [row for row in rows(results.points) if row.summary is not None]
    quantity = next((point.quantity for point in results.points if point.quantity), None)
    if quantity is None:
        return []
    name, heading = unit(quantity), measured(results)
    words = "; ".join(
        f"{row.label} {show(quantity, row.summary.median)} {name}, interval "
        f"{show_interval(quantity, row.summary.interval)}"
        for row in shown
        if row.summary is not None
    )

    def draw(theme: Theme, form: Form, *, titled: bool) -> bytes:
        return interval_plot(shown, quantity, theme, form, axis_title(results, quantity), heading if titled else None)

    cells = tuple(_interval_cells(row, functools.partial(scale, quantity)) for row in shown)
    caption, middle, meaning = _INTERVAL_WORDS[quantity == "estimated_latency_us"]
    header = ("model", f"{middle}, {name}", *_INTERVAL_HEADER)
    return [Chart("medians", heading, caption, f"{heading}, {meaning}: {words}", (), header, cells, draw)]


def _interval_cells(row: Row, scaled: Callable[[float], float]) -> tuple[str | float | int | None, ...]:
    summary, ratio = row.summary, row.ratio
    assert summary is not None
    low, high = _bounds(summary.interval)
    return (
        row.label,
        scaled(summary.median),
        scaled(low) if low is not None else None,
        scaled(high) if high is not None else None,
        scaled(summary.p10),
        scaled(summary.p90),
        summary.rounds,
        summary.samples,
        ratio.value if ratio else None,
        *_bounds(ratio.interval if ratio else None),
    )


def _bounds(interval: Interval | None) -> tuple[float | None, float | None]:
    return (interval.low, interval.high) if interval is not None else (None, None)


def _heading(label: str, unit: str) -> str:
    return f"{label}, {unit}" if unit else label


def _where(results: ResultSet) -> Sequence[str]:
    """What kind of figures a chart shows; for a chart without a page around it."""
    return caveats(results) or [measured(results)]
