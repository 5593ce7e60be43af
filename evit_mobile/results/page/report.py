"""One self-contained HTML page from result files: no network, no script, everything from outside escaped."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from evit_mobile.results.conditions import Conditions
from evit_mobile.results.draw.charts import charts
from evit_mobile.results.judge.verdict import Number, Verdict
from evit_mobile.results.judge.verdicts import verdicts
from evit_mobile.results.page.file_section import FileSection
from evit_mobile.results.page.pictures import Illustration
from evit_mobile.results.page.printed import NONE, Picture, picture_of, printed_rows
from evit_mobile.results.record import Point, ResultSet, RunSettings
from evit_mobile.results.source import SourceFile
from evit_mobile.results.stats import Interval
from evit_mobile.results.steady import courses
from evit_mobile.results.summary import (
    Row,
    axis_title,
    caveats,
    measured,
    rows,
    show,
    show_interval,
    significant,
    significant_interval,
    unit,
    warnings,
)
from evit_mobile.results.timeline_words import said
from evit_mobile.results.timeline_words import table as course_table
from evit_mobile.text import visible

TEMPLATE = "report.html.j2"
#: Columns of what estimates are made of; see ``_estimate_cells``.
ESTIMATE_HEADER = (
    "Model", "Instructions, M", "Cycles, M", "Waiting", "L2, MB", "L3, MB", "Memory, MB", "Written, MB",
)  # fmt: skip


@dataclass(frozen=True)
class Figure:
    """A number behind a verdict, ready to be printed."""

    name: str
    setting: str
    value: str
    interval: str
    n: str


@dataclass(frozen=True)
class Claim:
    """A claim with its verdicts, one for each setting; ``caveats`` hold for all of them."""

    text: str
    source: str
    verdicts: list[Verdict]
    figures: list[Figure]
    caveats: list[str]


@dataclass(frozen=True)
class Cells:
    """A point's row in the report's tables, ready to be printed."""

    point: Point
    label: str
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
    size_mb: str
    macs_m: str
    delegated: str
    runs: str


@dataclass(frozen=True)
class Section:
    """A result file on the page. ``has_ratios`` is False for a suite, where curves replace ratios to the first
    point.
    """

    name: str
    results: ResultSet
    heading: str
    measured: str
    caveats: list[str]
    warnings: list[str]
    title: str
    unit: str
    has_ratios: bool
    settings: list[RunSettings]
    cells: list[Cells]
    pictures: list[Picture]
    illustrations: Sequence[Illustration]
    claims: list[Claim]
    estimate_header: Sequence[str]
    estimates: list[list[str]]
    course_header: list[str]
    courses: list[list[str]]
    said: list[str]

    @property
    def is_estimate(self) -> bool:
        """Whether the figures are estimates."""
        return self.results.device.is_estimated

    @property
    def is_imported(self) -> bool:
        """Whether others measured."""
        return self.results.device.is_imported

    @property
    def source_files(self) -> tuple[SourceFile, ...]:
        """What the figures were imported from."""
        return self.results.source.files if self.results.source is not None else ()

    @property
    def files(self) -> list[tuple[str, int | None, str]]:
        """Name, bytes and hash of each model once, whatever the settings under which it was measured."""
        models = [
            (point.name, point.model_bytes, point.model_sha256)
            for point in self.results.points
            if point.model_sha256 is not None
        ]
        return list(dict.fromkeys(models))

    @property
    def has_macs(self) -> bool:
        return any(cells.macs_m != NONE for cells in self.cells)

    @property
    def timed(self) -> list[Cells]:
        """The rows of what was measured."""
        return [cells for cells in self.cells if cells.point.rounds]


def render(
    named: Sequence[tuple[str, ResultSet]],
    illustrations: Sequence[Illustration] = (),
    files: Sequence[FileSection] = (),
) -> str:
    """The page for results with the names (of files) under which they are shown, and for .tflite files before them; at
    least one of either.

    ``illustrations`` stand beside the charts of the first result.
    """
    import jinja2
    from markupsafe import Markup

    # Everything that the templates print is escaped: names of devices, models and files come from outside.
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value,
    )
    environment.filters["picture"] = picture_of
    environment.filters["printed"] = printed_rows
    sections = [_section(name, results, () if index else illustrations) for index, (name, results) in enumerate(named)]
    heading = _heading(sections) if not files else "One file, by evit-mobile"
    return environment.get_template(TEMPLATE).render(heading=heading, files=[*files], sections=sections)


def _heading(sections: Sequence[Section]) -> str:
    """What was done with all of them."""
    if all(section.is_estimate for section in sections):
        return "Estimated with evit-mobile"
    return f"{'Imported' if all(section.is_imported for section in sections) else 'Measured'} with evit-mobile"


def _section(name: str, results: ResultSet, illustrations: Sequence[Illustration]) -> Section:
    table = rows(results.points)
    quantity = next((point.quantity for point in results.points if point.quantity), None) or "latency_us"
    quantity_and_device = measured(results)
    course_header, course_rows = course_table(courses(results.timeline)) if results.timeline is not None else ([], [])
    return Section(
        name=name,
        results=results,
        heading=results.suite.title if results.suite is not None else quantity_and_device,
        measured=quantity_and_device,
        caveats=caveats(results),
        warnings=warnings(table),
        title=axis_title(results, quantity),
        unit=unit(quantity),
        has_ratios=results.suite is None,
        settings=list(dict.fromkeys(point.settings for point in results.points if point.rounds)),
        cells=[_cells(row) for row in table],
        pictures=[picture_of(chart) for chart in charts(results)],
        illustrations=illustrations,
        claims=_claims(verdicts(results)),
        estimate_header=ESTIMATE_HEADER,
        estimates=[cells for row in table for cells in _estimate_cells(row)],
        course_header=course_header,
        courses=course_rows,
        said=said(results),
    )


def _claims(judged: Sequence[Verdict]) -> list[Claim]:
    """Verdicts by claim; caveats that they share are listed once."""
    groups: dict[str, list[Verdict]] = {}
    for verdict in judged:
        groups.setdefault(verdict.claim, []).append(verdict)
    return [
        Claim(
            group[0].text,
            group[0].source,
            group,
            [_figure(number, verdict.setting) for verdict in group for number in verdict.numbers],
            list(dict.fromkeys(text for verdict in group for text in verdict.caveats)),
        )
        for group in groups.values()
    ]


def _figure(number: Number, setting: str) -> Figure:
    unit = "" if number.unit == "×" else f" {number.unit}"
    interval = (
        f"{_signed(number.interval.low)} to {_signed(number.interval.high)}" if number.interval is not None else NONE
    )
    return Figure(
        number.name, setting, f"{_signed(number.value)}{unit}".rstrip(), interval, str(number.n) if number.n else NONE
    )


def _signed(value: float) -> str:
    """``value`` with three significant digits; exponents may be negative."""
    return "0" if value == 0 else ("−" if value < 0 else "") + significant(abs(value), 3)


def _cells(row: Row) -> Cells:
    point, summary, ratio, quantity = row.point, row.summary, row.ratio, row.point.quantity
    states = [state for entry in point.rounds for state in (entry.before, entry.after) if state is not None]
    peaks = [entry.peak_memory_bytes for entry in point.rounds if entry.peak_memory_bytes is not None]
    return Cells(
        point=point,
        label=row.label,
        median=show(quantity, summary.median) if summary and quantity else point.limit or NONE,
        interval=show_interval(quantity, summary.interval) if summary and quantity else "",
        spread=show_interval(quantity, Interval(summary.p10, summary.p90)) if summary and quantity else NONE,
        ratio=significant(ratio.value) if ratio else "1" if summary else NONE,
        ratio_interval=significant_interval(ratio.interval) if ratio else "",
        verdict=row.verdict,
        init_ms=_median_ms([entry.init_us for entry in point.rounds]),
        first_ms=_median_ms([entry.first_inference_us for entry in point.rounds]),
        peak_mb=f"{max(peaks) / 1e6:.1f}" if peaks else NONE,
        load=_range([state.load_average_1min for state in states if state.load_average_1min is not None], "{:.2f}"),
        clocks_mhz=_range([clock / 1000 for state in states for clock in state.clocks_khz.values()], "{:.0f}"),
        temperatures=_range([value for state in states for value in state.temperatures_celsius.values()], "{:.1f}"),
        period=_period(states),
        size_mb=f"{point.model_bytes / 1e6:.2f}" if point.model_bytes is not None else NONE,
        macs_m=f"{point.place.macs / 1e6:,.1f}" if point.place is not None and point.place.macs is not None else NONE,
        delegated=_delegated(point),
        runs=f"{len(point.rounds)} × {min(map(len, point.values))}" if point.rounds else NONE,
    )


def _estimate_cells(row: Row) -> Iterator[list[str]]:
    """What an estimate is made of, ready to be printed; nothing of a measurement."""
    for estimate in [entry.estimate for entry in row.point.rounds[:1] if entry.estimate is not None]:
        traffic = estimate.traffic
        sizes = (traffic.l2_bytes, traffic.l3_bytes, traffic.memory_bytes, traffic.written_bytes)
        counts = [f"{count / 1e6:,.1f}" for count in (estimate.instructions, estimate.cycles)]
        yield [
            row.label,
            *counts,
            f"{estimate.wait_cycles / estimate.cycles:.0%}",
            *(f"{size / 1e6:,.1f}" for size in sizes),
        ]


def _delegated(point: Point) -> str:
    """The share of a model's ops that the delegate took."""
    if not point.ops or point.undelegated_ops is None:
        return NONE
    return f"{max(0, point.ops - point.undelegated_ops) / point.ops:.0%}"


def _median_ms(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    return significant(statistics.median(known) / 1000) if known else NONE


def _range(values: Sequence[float], form: str) -> str:
    """``lowest–highest``, one value if both look the same, a dash if there are none."""
    if not values:
        return NONE
    low, high = form.format(min(values)), form.format(max(values))
    return low if low == high else f"{low}–{high}"


def _period(states: Sequence[Conditions]) -> str:
    return f"{states[0].at:%H:%M:%S}–{states[-1].at:%H:%M:%S}" if states else NONE
