"""Pictures of results, drawn by matplotlib as SVG."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any, Sequence

import numpy as np

from evit_mobile.results.record import Quantity
from evit_mobile.results.summary import Row, scale, show, title, unit
from evit_mobile.text import visible

#: Wider than this from the least to the greatest value, an axis is logarithmic.
LOG_FROM_RATIO = 10.0
MAX_LABEL = 44


@dataclass(frozen=True)
class Theme:
    """Colours of a picture; each passes 4.5:1 against ``paper``."""

    paper: str
    ink: str
    quiet: str
    accent: str


LIGHT = Theme(paper="#ffffff", ink="#1b1f24", quiet="#59636e", accent="#0550ae")
DARK = Theme(paper="#0d1117", ink="#e6edf3", quiet="#9198a1", accent="#79c0ff")


def interval_plot(rows: Sequence[Row], quantity: Quantity, theme: Theme) -> str:
    """An SVG document: one line a row, with its median, 95 % interval, p10 to p90, and the median of each round as a small dot.

    Rows without a summary are left out; at least one must have one. Sized so that its text can be read at 360 CSS pixels.
    """
    import matplotlib
    from matplotlib.figure import Figure

    shown = [row for row in rows if row.summary is not None]
    style = {
        "svg.fonttype": "none", "svg.hashsalt": "evit-mobile", "font.family": "sans-serif", "font.size": 10, "text.parse_math": False,
        "text.color": theme.ink, "axes.labelcolor": theme.ink, "axes.edgecolor": theme.quiet, "axes.facecolor": theme.paper,
        "figure.facecolor": theme.paper, "xtick.color": theme.quiet, "xtick.labelcolor": theme.ink,
    }  # fmt: skip
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(4.4, 0.9 + 0.55 * len(shown)), layout="constrained")
        axes = figure.subplots()
        for index, row in enumerate(shown):
            _draw_row(axes, -float(index), row, quantity, theme)
        _dress(axes, len(shown), quantity, theme)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()


def _draw_row(axes: Any, y: float, row: Row, quantity: Quantity, theme: Theme) -> None:
    summary = row.summary
    assert summary is not None
    medians = [scale(quantity, float(np.median(values))) for values in row.point.values]
    # Symmetric about the line, in the order of the rounds, so that a drift shows as a slant.
    axes.plot(medians, y + np.linspace(0.12, -0.12, len(medians)), ".", color=theme.quiet, markersize=3, zorder=1)
    axes.hlines(y, scale(quantity, summary.p10), scale(quantity, summary.p90), color=theme.quiet, linewidth=1, zorder=2)
    if summary.interval is not None:
        low, high = scale(quantity, summary.interval.low), scale(quantity, summary.interval.high)
        axes.hlines(y, low, high, color=theme.accent, linewidth=5, alpha=0.6, zorder=3)
    axes.plot(scale(quantity, summary.median), y, "o", color=theme.accent, markersize=6, zorder=4)
    name = visible(row.label if len(row.label) <= MAX_LABEL else row.label[: MAX_LABEL - 1] + "…")
    label = f"{name}  {show(quantity, summary.median)} {unit(quantity)}"
    axes.text(0.0, y + 0.26, label, transform=axes.get_yaxis_transform(), va="center", ha="left")


def _dress(axes: Any, rows: int, quantity: Quantity, theme: Theme) -> None:
    low, high = axes.dataLim.intervalx
    if high / low > LOG_FROM_RATIO:
        axes.set_xscale("log")
    axes.margins(x=0.08)
    axes.set_ylim(-rows + 0.6, 0.5)
    axes.set_yticks([])
    axes.spines[["left", "right", "top"]].set_visible(False)
    axes.grid(axis="x", color=theme.quiet, alpha=0.25, linewidth=0.6)
    axes.set_xlabel(f"{title(quantity)} ({unit(quantity)})")
