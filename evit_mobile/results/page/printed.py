"""Figures, tables and charts as a page prints them."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass

from evit_mobile.results.draw.chart import Cell, Chart
from evit_mobile.results.draw.interval_plot import DARK, LIGHT
from evit_mobile.results.summary import significant

NONE = "–"
#: Rows of a chart's table that a page shows; ``report --export`` writes all.
MOST_ROWS = 100


@dataclass(frozen=True)
class Picture:
    """A chart on the page: its two pictures as data URIs, and its figures ready to be printed; of a long table one row
    in ``every``.
    """

    chart: Chart
    light: str
    dark: str
    table: list[list[str]]
    every: int


def picture_of(chart: Chart) -> Picture:
    """A chart for a page."""
    light, dark = (_data_uri(chart.draw(theme, "svg", titled=False)) for theme in (LIGHT, DARK))
    every = math.ceil(len(chart.cells) / MOST_ROWS) or 1
    return Picture(chart, light, dark, printed_rows(chart.cells[::every]), every)


def printed_rows(cells: Sequence[Sequence[Cell]]) -> list[list[str]]:
    """A table's figures with four significant digits, whole numbers as they are."""
    return [[_printed(value) for value in row] for row in cells]


def _data_uri(svg: bytes) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(svg).decode()


def _printed(value: Cell) -> str:
    if isinstance(value, float):
        if value.is_integer():
            return f"{value:,.0f}"
        return ("−" if value < 0 else "") + significant(abs(value))
    return NONE if value is None else str(value)
