"""Pictures of results, drawn by matplotlib."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Sequence

import numpy as np

from evit_mobile.results.record import Quantity
from evit_mobile.results.summary import Row, scale, show, title, unit
from evit_mobile.text import number, visible

Form = Literal["svg", "png"]

#: An axis is logarithmic if the ratio of its largest to its smallest value exceeds this.
LOG_FROM_RATIO = 10.0
MAX_LABEL = 44
PNG_DPI = 200


@dataclass(frozen=True)
class Theme:
    """Colours of a picture; each passes 4.5:1 against ``paper``, and neighbours in ``series`` differ to the
    colour-blind.
    """

    paper: str
    ink: str
    quiet: str
    accent: str
    series: tuple[str, ...]


LIGHT = Theme(
    "#ffffff", "#1b1f24", "#59636e", "#0550ae", ("#0550ae", "#b35900", "#116329", "#8250df", "#a40e26", "#6e5a00")
)
DARK = Theme(
    "#0d1117", "#e6edf3", "#9198a1", "#79c0ff", ("#79c0ff", "#ffa657", "#7ee787", "#d2a8ff", "#ff7b72", "#e3b341")
)


def picture(
    draw: Callable[[Any], None], size: tuple[float, float], theme: Theme, form: Form, font_size: float = 10
) -> bytes:
    """What ``draw`` draws on a matplotlib Figure of ``size`` inches; the same bytes each time."""
    import matplotlib
    from matplotlib.figure import Figure

    style = {
        "svg.fonttype": "none", "svg.hashsalt": "evit-mobile", "font.family": "sans-serif", "font.size": font_size,
        "text.parse_math": False, "text.color": theme.ink, "axes.labelcolor": theme.ink, "axes.edgecolor": theme.quiet,
        "axes.facecolor": theme.paper, "figure.facecolor": theme.paper, "xtick.color": theme.quiet,
        "ytick.color": theme.quiet, "xtick.labelcolor": theme.ink, "ytick.labelcolor": theme.ink,
        "legend.frameon": False, "legend.fontsize": font_size - 1,
    }  # fmt: skip
    buffer = io.BytesIO()
    with matplotlib.rc_context(style), warnings.catch_warnings():
        # A name may be in a script that our font lacks: it is drawn as boxes in a PNG, and whole in an SVG.
        warnings.filterwarnings("ignore", "Glyph .* missing")
        figure = Figure(figsize=size, layout="constrained")
        draw(figure)
        figure.savefig(
            buffer, format=form, dpi=PNG_DPI, metadata={"Date": None} if form == "svg" else {"Software": None}
        )
    return buffer.getvalue()


def short(text: str, length: int = MAX_LABEL) -> str:
    """``text`` as it is drawn: at most ``length`` characters, all of them visible."""
    return visible(text if len(text) <= length else text[: length - 1] + "…")


def heading_inches(heading: str | None) -> float:
    """The height that a heading of several lines takes."""
    return 0.1 + 0.18 * (heading.count("\n") + 1) if heading is not None else 0.0


def plain_numbers() -> Any:
    """A formatter for the ticks of a logarithmic axis."""
    from matplotlib.ticker import FuncFormatter

    def text(value: float, _: object) -> str:
        return number(value) if 1e-4 <= abs(value) < 1e7 else f"{value:.0e}"

    return FuncFormatter(text)


def interval_plot(
    rows: Sequence[Row],
    quantity: Quantity,
    theme: Theme,
    form: Form = "svg",
    axis: str = "",
    heading: str | None = None,
) -> bytes:
    """One line per row, with its median, 95 % interval, p10 to p90, and the median of each round as a small dot.

    Rows without a summary are left out; at least one row needs one. Sized so that its text can be read at 360 CSS
    pixels. ``axis`` replaces the quantity's own title; ``heading`` is for a picture that stands alone.
    """
    shown = [row for row in rows if row.summary is not None]

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        for index, row in enumerate(shown):
            _draw_row(axes, -float(index), row, quantity, theme)
        _dress(axes, len(shown), theme)
        axes.set_xlabel(f"{short(axis or title(quantity), 60)} ({unit(quantity)})")
        if heading is not None:
            figure.suptitle(short(heading, 60), fontsize=10)

    return picture(draw, (4.4, 0.9 + 0.55 * len(shown) + (0.3 if heading is not None else 0)), theme, form)


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
    label = f"{short(row.label)}  {show(quantity, summary.median)} {unit(quantity)}"
    axes.text(0.0, y + 0.26, label, transform=axes.get_yaxis_transform(), va="center", ha="left")


def _dress(axes: Any, rows: int, theme: Theme) -> None:
    low, high = axes.dataLim.intervalx
    if high / low > LOG_FROM_RATIO:
        from matplotlib.ticker import NullFormatter

        axes.set_xscale("log")
        # matplotlib's own labels of a logarithmic axis are formulas, which are not drawn here.
        axes.xaxis.set_major_formatter(plain_numbers())
        axes.xaxis.set_minor_formatter(NullFormatter())
    axes.margins(x=0.08)
    axes.set_ylim(-rows + 0.6, 0.5)
    axes.set_yticks([])
    axes.spines[["left", "right", "top"]].set_visible(False)
    axes.grid(axis="x", color=theme.quiet, alpha=0.25, linewidth=0.6)
