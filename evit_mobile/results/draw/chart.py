"""What a chart is, whatever it shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from evit_mobile.results.draw.interval_plot import Form, Theme

#: A figure of a table, not formatted, or a text; None where there is none.
Cell = str | float | int | None


class Draw(Protocol):
    """Draws a chart."""

    def __call__(self, theme: Theme, form: Form, *, titled: bool) -> bytes:
        """The picture's bytes; ``titled`` puts the heading into it, for a picture that stands alone."""


@dataclass(frozen=True)
class Chart:
    """A chart.

    Attributes:
        key: tells it apart within its result file, and is fit for a file name.
        alt: what it shows, in words.
        notes: caveats to be read with it.
        header, cells: its figures as a table; each row of cells matches the header. Numbers are not formatted.
        draw: gives the picture.
    """

    key: str
    title: str
    caption: str
    alt: str
    notes: tuple[str, ...]
    header: tuple[str, ...]
    cells: tuple[tuple[Cell, ...], ...]
    draw: Draw
