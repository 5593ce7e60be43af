"""Where an estimated inference spends its cycles: a bar for each block of the network, or for each type of op."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from evit_mobile.results.breakdown import Part
from evit_mobile.results.draw.interval_plot import Form, Theme, heading_inches, picture, short

#: Parts that are drawn of a network of more; the table beside the picture has all.
MOST_DRAWN = 40
MAX_NAME = 28
#: Layout and number of axes in the delegate's names of ops: ``(NHWC, F32)``.
_LAYOUT = re.compile(r" \((?:N\w*)(?:, )?([^)]*)\)")


def drawn(parts: Sequence[Part]) -> list[Part]:
    """The parts that take longest, in their order."""
    longest = sorted(parts, key=lambda part: -part.estimated_us)[:MOST_DRAWN]
    return [part for part in parts if part in longest]


def breakdown_plot(parts: Sequence[Part], theme: Theme, form: Form, heading: str | None = None) -> bytes:
    """The picture; ``heading`` is for one that stands alone, in lines."""
    shown = drawn(parts)

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        rows = [-float(row) for row in range(len(shown))]
        computing = [(part.cycles - part.wait_cycles) / 1e6 for part in shown]
        axes.barh(rows, computing, height=0.7, color=theme.series[0], label="computing")
        waiting = [part.wait_cycles / 1e6 for part in shown]
        axes.barh(rows, waiting, left=computing, height=0.7, color=theme.series[1], label="waiting for memory")
        for row, part in zip(rows, shown, strict=True):
            axes.annotate(
                f"{part.share:.1%}", (part.cycles / 1e6, row), xytext=(3, 0), textcoords="offset points", va="center"
            )
        axes.set(ylim=(-len(shown) + 0.4, 0.6), xlabel="Estimated cycles of one core (M)")
        axes.set_yticks(rows, [short(" ".join(_LAYOUT.sub(r" \1", part.name).split()), MAX_NAME) for part in shown])
        axes.tick_params(axis="y", length=0)
        axes.margins(x=0.12)
        axes.spines[["left", "right", "top"]].set_visible(False)
        figure.legend(loc="outside lower right", ncols=2)
        if heading is not None:
            figure.suptitle(heading, fontsize=9)

    return picture(draw, (4.4, 1.0 + 0.21 * len(shown) + heading_inches(heading)), theme, form, font_size=9)
