"""One bar that is made of parts: where the cost of a model goes."""

from __future__ import annotations

from typing import Any, Sequence

from evit_mobile.results.draw.interval_plot import LIGHT, Theme, picture

#: A part below this share of the whole is drawn without its name.
LEAST_NAMED = 0.02


def stacked_bar(parts: Sequence[tuple[str, float]], title: str, unit: str, theme: Theme = LIGHT) -> str:
    """An SVG document: a horizontal bar of ``parts`` in order, from top to bottom beside their names.

    A part that is negative (what a fusion across a cut saved) takes no room.

    Args:
        parts: name and amount; at least one amount is positive.
        unit: what the amounts are, for the axis.
    """
    whole = sum(amount for _, amount in parts if amount > 0)

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        start = 0.0
        for row, (name, amount) in enumerate(parts):
            size = max(amount, 0.0)
            axes.barh(-row, size, left=start, height=0.8, color=theme.accent, alpha=0.85 if row % 2 else 0.6)
            if size >= LEAST_NAMED * whole:
                left = start > whole / 2
                axes.annotate(
                    f"{name}  {size / whole:.1%}",
                    (start if left else start + size, -row),
                    xytext=(-3 if left else 3, 0),
                    textcoords="offset points",
                    ha="right" if left else "left",
                    va="center",
                )
            start += size
        axes.set(yticks=[], xlim=(0, whole), xlabel=unit, title=title)
        axes.spines[["left", "right", "top"]].set_visible(False)

    return picture(draw, (7.2, 0.9 + 0.2 * len(parts)), theme, "svg", font_size=8).decode()
