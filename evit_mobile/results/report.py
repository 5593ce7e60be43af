"""One self-contained HTML page from result files: no network, no script, everything from outside escaped."""

from __future__ import annotations

import base64
import importlib.resources
import statistics
from dataclasses import dataclass
from typing import Sequence

from evit_mobile.results import plot
from evit_mobile.results.record import Conditions, Point, ResultSet, RunSettings
from evit_mobile.results.stats import Interval
from evit_mobile.results.summary import (
    Row, caveats, rows, show, show_interval, significant, significant_interval, title, unit, warnings,
)  # fmt: skip
from evit_mobile.text import visible

TEMPLATE = "report.html.j2"


@dataclass(frozen=True)
class Picture:
    """A chart as data URIs, with what it shows in words."""

    light: str
    dark: str
    alt: str


@dataclass(frozen=True)
class Cells:
    """A point's row in the report's tables, ready to be printed."""

    point: Point
    median: str
    interval: str
    spread: str
    ratio: str
    ratio_interval: str
    verdict: str
    init_ms: str
    first_ms: str
    peak_mb: str
    load: str
    clocks_mhz: str
    temperatures: str
    period: str


@dataclass(frozen=True)
class Section:
    """A result file on the page."""

    name: str
    results: ResultSet
    caveats: list[str]
    warnings: list[str]
    title: str
    unit: str
    settings: list[RunSettings]
    cells: list[Cells]
    picture: Picture | None


def render(named: Sequence[tuple[str, ResultSet]]) -> str:
    """The page for results with the names (of files) under which they are shown; at least one."""
    import jinja2

    # autoescape is on for whatever the template prints: names of devices, models and files are not ours.
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        finalize=lambda value: visible(value) if isinstance(value, str) else value,
    )  # fmt: skip
    source = importlib.resources.files(__package__).joinpath(TEMPLATE).read_text(encoding="utf-8")
    return environment.from_string(source).render(sections=[_section(name, results) for name, results in named])


def _section(name: str, results: ResultSet) -> Section:
    table = rows(results.points)
    quantity = next((point.quantity for point in results.points if point.quantity), None) or "latency_us"
    return Section(
        name=name,
        results=results,
        caveats=caveats(results),
        warnings=warnings(table),
        title=title(quantity),
        unit=unit(quantity),
        settings=list(dict.fromkeys(point.settings for point in results.points)),
        cells=[_cells(row) for row in table],
        picture=_picture(table, results),
    )


def _picture(table: Sequence[Row], results: ResultSet) -> Picture | None:
    """The chart of the rows that measured something; None where none did."""
    measured = [row for row in table if row.summary is not None]
    quantity = next((point.quantity for point in results.points if point.quantity), None)
    if quantity is None:
        return None
    said = "; ".join(
        f"{row.label} {show(quantity, row.summary.median)} {unit(quantity)}, interval {show_interval(quantity, row.summary.interval)}"
        for row in measured
        if row.summary is not None
    )
    light, dark = (_data_uri(plot.interval_plot(measured, quantity, theme)) for theme in (plot.LIGHT, plot.DARK))
    return Picture(light, dark, f"{title(quantity)}, median with 95% interval: {said}")


def _data_uri(svg: str) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()


def _cells(row: Row) -> Cells:
    point, summary, ratio, quantity = row.point, row.summary, row.ratio, row.point.quantity
    states = [state for entry in point.rounds for state in (entry.before, entry.after) if state is not None]
    peaks = [entry.peak_memory_bytes for entry in point.rounds if entry.peak_memory_bytes is not None]
    none = "–"
    return Cells(
        point=point,
        median=show(quantity, summary.median) if summary and quantity else none,
        interval=show_interval(quantity, summary.interval) if summary and quantity else none,
        spread=show_interval(quantity, Interval(summary.p10, summary.p90)) if summary and quantity else none,
        ratio=significant(ratio.value) if ratio else "1" if summary else none,
        ratio_interval=significant_interval(ratio.interval) if ratio else "",
        verdict=row.verdict,
        init_ms=_median_ms([entry.init_us for entry in point.rounds]),
        first_ms=_median_ms([entry.first_inference_us for entry in point.rounds]),
        peak_mb=f"{max(peaks) / 1e6:.1f}" if peaks else none,
        load=_range([state.load_average_1min for state in states if state.load_average_1min is not None], "{:.2f}"),
        clocks_mhz=_range([clock / 1000 for state in states for clock in state.clocks_khz.values()], "{:.0f}"),
        temperatures=_range([value for state in states for value in state.temperatures_celsius.values()], "{:.1f}"),
        period=_period(states),
    )


def _median_ms(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    return significant(statistics.median(known) / 1000) if known else "–"


def _range(values: Sequence[float], form: str) -> str:
    """``least–greatest``, one of them where they are shown alike, a dash where there are none."""
    if not values:
        return "–"
    low, high = form.format(min(values)), form.format(max(values))
    return low if low == high else f"{low}–{high}"


def _period(states: Sequence[Conditions]) -> str:
    return f"{states[0].at:%H:%M:%S}–{states[-1].at:%H:%M:%S}" if states else "–"
