"""Which share of several quantities each block of a network has: a group of bars for each block."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from evit_mobile.results.draw.interval_plot import Form, Theme, heading_inches, picture, short

MAX_NAME = 28
#: Room of a group of bars, of the distance to the next.
_GROUP = 0.8


def share_plot(
    names: Sequence[str], shares: Mapping[str, Sequence[float]], theme: Theme, form: Form, heading: str | None = None
) -> bytes:
    """The picture; ``shares`` has for each quantity one value per name, from 0 to 1. ``heading`` is for a picture that
    stands alone.
    """
    height = _GROUP / len(shares)

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        for number, (label, values) in enumerate(shares.items()):
            rows = [-row + _GROUP / 2 - (number + 0.5) * height for row in range(len(names))]
            widths = [100 * value for value in values]
            color = theme.series[number % len(theme.series)]
            axes.barh(rows, widths, height=0.9 * height, color=color, label=short(label, 60))
        axes.set(ylim=(-len(names) + 0.4, 0.6), xlabel="Share of the whole (%)")
        axes.set_yticks([-float(row) for row in range(len(names))], [short(name, MAX_NAME) for name in names])
        axes.tick_params(axis="y", length=0)
        axes.spines[["left", "right", "top"]].set_visible(False)
        axes.grid(axis="x", color=theme.quiet, alpha=0.25, linewidth=0.6)
        axes.set_axisbelow(True)
        figure.legend(loc="outside upper right", ncols=1 if len(shares) > 2 else len(shares))
        if heading is not None:
            figure.suptitle(short(heading, 60), fontsize=10)

    bars, legend = 0.11 * len(shares) + 0.1, 0.18 * len(shares)
    return picture(draw, (4.4, 0.9 + legend + bars * len(names) + heading_inches(heading)), theme, form, font_size=9)
