"""Time against quality: a dot for each file, and the line of those that no other beats in both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from evit_mobile.results.draw.interval_plot import Form, Theme, picture, short


@dataclass(frozen=True)
class Dot:
    """A file: time in the unit of its axis, quality, and what is written beside it. ``on_front``: no other is both
    faster and better; ``is_chosen``: it is the one to ship.
    """

    label: str
    time: float
    quality: float
    on_front: bool
    is_chosen: bool


@dataclass(frozen=True)
class ParetoAxes:
    """Titles of the axes with their units; ``bound`` is the least quality that was asked for."""

    heading: str
    time: str
    quality: str
    bound: float | None


def pareto_plot(dots: Sequence[Dot], axes_of: ParetoAxes, theme: Theme, form: Form) -> bytes:
    """The picture; at least one dot."""

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        front = sorted((dot for dot in dots if dot.on_front), key=lambda dot: dot.time)
        axes.plot([dot.time for dot in front], [dot.quality for dot in front], color=theme.quiet, linewidth=1, zorder=1)
        for dot in dots:
            color = theme.accent if dot.is_chosen else theme.ink if dot.on_front else theme.quiet
            axes.plot(dot.time, dot.quality, "o", color=color, markersize=9 if dot.is_chosen else 6, zorder=2)
            style = {"textcoords": "offset points", "ha": "center", "color": color, "fontsize": 8}
            axes.annotate(dot.label, (dot.time, dot.quality), (0, 9), **style)
        if axes_of.bound is not None:
            axes.axhline(axes_of.bound, color=theme.series[1], linewidth=1, linestyle="--", zorder=0)
        axes.margins(x=0.22, y=0.22)
        axes.set(xlabel=axes_of.time, ylabel=axes_of.quality)
        axes.spines[["right", "top"]].set_visible(False)
        figure.suptitle(short(axes_of.heading, 70), fontsize=10)

    return picture(draw, (5.6, 4.0), theme, form)
