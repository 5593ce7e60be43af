"""What estimates are made of: a bar for each model, its computing and its waiting for memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from evit_mobile.results.draw.interval_plot import Form, Theme, picture, short
from evit_mobile.results.summary import Row

HEADER = ("model", "M cycles computing", "M cycles waiting", "L2, MB", "L3, MB", "memory, MB", "written, MB")


@dataclass(frozen=True)
class Bar:
    """One model: millions of cycles on one core, and megabytes per inference from L2, L3 and memory, and written
    to it.
    """

    label: str
    computing: float
    waiting: float
    megabytes: tuple[float, float, float, float]

    @property
    def cells(self) -> tuple[str | float | int | None, ...]:
        """A row under ``HEADER``."""
        return self.label, self.computing, self.waiting, *self.megabytes


def bars(rows: Sequence[Row]) -> list[Bar]:
    """A bar for each model that was estimated; cycles are of one core, so that the number of threads does not
    matter.
    """
    bars_of: dict[str, Bar] = {}
    for row in rows:
        estimate = row.point.rounds[0].estimate if row.point.rounds else None
        if estimate is not None:
            traffic = estimate.traffic
            sizes = (traffic.l2_bytes, traffic.l3_bytes, traffic.memory_bytes, traffic.written_bytes)
            megabytes = (sizes[0] / 1e6, sizes[1] / 1e6, sizes[2] / 1e6, sizes[3] / 1e6)
            waiting = estimate.wait_cycles / 1e6
            bars_of.setdefault(row.point.name, Bar(row.point.name, estimate.cycles / 1e6 - waiting, waiting, megabytes))
    return list(bars_of.values())


def bar_plot(shown: Sequence[Bar], theme: Theme, form: Form, heading: str | None = None) -> bytes:
    """The picture; ``heading`` is for one that stands alone."""

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        for row, bar in enumerate(shown):
            names = ("computing", "waiting for memory") if row == 0 else (None, None)
            axes.barh(-row, bar.computing, height=0.45, color=theme.series[0], label=names[0])
            axes.barh(-row, bar.waiting, left=bar.computing, height=0.45, color=theme.series[1], label=names[1])
            label = f"{short(bar.label)}  {bar.computing + bar.waiting:.1f} M, {_share(bar):.0%} waiting"
            axes.text(0.0, -row + 0.36, label, transform=axes.get_yaxis_transform(), va="center", ha="left")
        axes.set(yticks=[], ylim=(-len(shown) + 0.6, 0.6), xlabel="Estimated cycles of one core (M)")
        axes.spines[["left", "right", "top"]].set_visible(False)
        figure.legend(loc="outside lower right", ncols=2)
        if heading is not None:
            figure.suptitle(short(heading, 60), fontsize=10)

    return picture(draw, (4.4, 1.2 + 0.55 * len(shown) + (0.3 if heading is not None else 0)), theme, form)


def in_words(shown: Sequence[Bar]) -> str:
    """What the picture shows."""
    return "; ".join(
        f"{bar.label} {bar.computing + bar.waiting:.1f} M cycles, {_share(bar):.0%} waiting" for bar in shown
    )


def _share(bar: Bar) -> float:
    return bar.waiting / (bar.computing + bar.waiting)
