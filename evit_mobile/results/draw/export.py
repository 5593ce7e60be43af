"""Every chart of result files as files of its own: PNG, SVG, and its figures as CSV."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from evit_mobile.errors import RequestError
from evit_mobile.files import check_output, whole_file
from evit_mobile.results.draw.chart import Chart
from evit_mobile.results.draw.charts import charts
from evit_mobile.results.draw.interval_plot import LIGHT
from evit_mobile.results.record import ResultSet
from evit_mobile.text import visible

#: Charts with the names that their files are to have.
Charts = Sequence[tuple[str, Chart]]


def export(
    named: Sequence[tuple[str, ResultSet]], folder: Path, *, force: bool = False, more: Charts = ()
) -> list[Path]:
    """Write the charts of results, named as they are shown, into ``folder``, which is made if it is absent.

    ``more`` are charts of something else, with what it is called.

    Raises:
        RequestError: a file is there already and ``force`` is not set, or the folder cannot be written to.
    """
    named_charts = _named_charts([*more, *_charts_of(named)])
    if not named_charts:
        raise RequestError("there is no chart to export", hint="nothing in these files was measured")
    if folder.exists() and not folder.is_dir():
        raise RequestError(f"cannot write to {folder}: it is not a folder")
    check_output(folder if not folder.exists() else folder / ".evit-mobile", force=force)
    paths = [[folder / f"{stem}.{form}" for form in ("png", "svg", "csv")] for stem, _ in named_charts]
    existing = [path for group in paths for path in group if path.exists()]
    if existing and not force:
        raise RequestError(f"{existing[0]} exists", hint="--force replaces it")
    folder.mkdir(exist_ok=True)
    for (_, chart), (png, svg, table) in zip(named_charts, paths):
        for path, content in (
            (png, chart.draw(LIGHT, "png", titled=True)),
            (svg, chart.draw(LIGHT, "svg", titled=True)),
            (table, to_csv(chart).encode()),
        ):
            with whole_file(path) as temporary:
                temporary.write_bytes(content)
    return [path for group in paths for path in group]


def to_csv(chart: Chart) -> str:
    """The figures of a chart. An apostrophe precedes text that a spreadsheet would read as a formula."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(map(_cell, chart.header))
    writer.writerows([_cell(value) for value in row] for row in chart.cells)
    return buffer.getvalue()


def _cell(value: str | float | int | None) -> str:
    if isinstance(value, str):
        text = visible(value)
        return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text
    return "" if value is None else repr(value)


def _charts_of(named: Sequence[tuple[str, ResultSet]]) -> Iterator[tuple[str, Chart]]:
    """Each chart with its result file's name and its key, without what the name says already."""
    for name, results in named:
        file = Path(name).stem
        known = f"{results.suite.name}-" if results.suite is not None and results.suite.name in file else ""
        for chart in charts(results):
            yield f"{file}-{chart.key.removeprefix(known)}", chart


def _named_charts(charts: Charts) -> list[tuple[str, Chart]]:
    """Charts under file names that differ."""
    charts_of: dict[str, Chart] = {}
    for name, chart in charts:
        stem = first = _slug(name)
        number = 1
        while stem in charts_of:
            number += 1
            stem = f"{first}-{number}"
        charts_of[stem] = chart
    return list(charts_of.items())


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._]+", "-", text).strip("-.")[:120] or "chart"
