"""What stands on a page about one .tflite, ready to be printed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from evit_mobile.results.draw.chart import Cell, Chart
from evit_mobile.results.page.pictures import Illustration


@dataclass(frozen=True)
class Part:
    """One heading of a section, with what is under it in this order; a folded part is opened by a click.

    Attributes:
        facts: names and values.
        lines: sentences.
        header, cells: a table; each row of cells matches the header.
    """

    title: str
    about: str = ""
    facts: Sequence[tuple[str, str]] = ()
    lines: Sequence[str] = ()
    charts: Sequence[Chart] = ()
    illustrations: Sequence[Illustration] = ()
    header: Sequence[str] = ()
    cells: Sequence[Sequence[Cell]] = ()
    is_folded: bool = False


@dataclass(frozen=True)
class FileSection:
    """A .tflite on the page, or one signature of it; ``notes`` are to be read first."""

    name: str
    about: str
    notes: Sequence[str]
    parts: Sequence[Part]
