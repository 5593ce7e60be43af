"""One bar that is made of parts: where the cost of a model goes."""

from __future__ import annotations

import io
from typing import Sequence

from evit_mobile.results.plot import LIGHT, Theme

#: A part below this share of the whole is drawn without its name.
LEAST_NAMED = 0.02


def stacked_bar(parts: Sequence[tuple[str, float]], title: str, unit: str, theme: Theme = LIGHT) -> str:
    """An SVG document: a horizontal bar of ``parts`` in order, from top to bottom beside their names.

    A part that is negative (what a fusion across a cut saved) takes no room.

    Args:
        parts: name and amount; at least one amount is positive.
        unit: what the amounts are, for the axis.
    """
    import matplotlib
    from matplotlib.figure import Figure

    style = {"svg.fonttype": "none", "svg.hashsalt": "evit-mobile", "font.size": 8, "text.parse_math": False,
             "text.color": theme.ink, "figure.facecolor": theme.paper, "axes.facecolor": theme.paper,
             "xtick.color": theme.ink, "axes.labelcolor": theme.ink}  # fmt: skip
    whole = sum(amount for _, amount in parts if amount > 0)
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(7.2, 0.9 + 0.2 * len(parts)), layout="constrained")
        axes = figure.subplots()
        start = 0.0
        for row, (name, amount) in enumerate(parts):
            size = max(amount, 0.0)
            axes.barh(-row, size, left=start, height=0.8, color=theme.accent, alpha=0.85 if row % 2 else 0.6)
            if size >= LEAST_NAMED * whole:
                left = start > whole / 2
                axes.annotate(
                    f"{name}  {size / whole:.1%}", (start if left else start + size, -row), xytext=(-3 if left else 3, 0),
                    textcoords="offset points", ha="right" if left else "left", va="center",
                )  # fmt: skip
            start += size
        axes.set(yticks=[], xlim=(0, whole), xlabel=unit, title=title)
        axes.spines[["left", "right", "top"]].set_visible(False)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()
