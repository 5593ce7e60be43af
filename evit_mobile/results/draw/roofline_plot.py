"""The roofline of an estimated inference: what each op reaches, below what the core and its memory can do.

Williams, Waterman and Patterson, Roofline: an insightful visual performance model (CACM 52, 2009).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from evit_mobile.results.draw.interval_plot import Form, Theme, heading_inches, picture, plain_numbers
from evit_mobile.results.estimates import Ceilings, OpEstimate

#: Ops that read and write less memory than this are drawn as if they used it: almost all of theirs is in the caches.
LEAST_BYTES = 64
#: Multiply-accumulates per byte at the right edge.
MOST_INTENSE = 10_000.0
KINDS = ("convolution, fully connected", "depthwise convolution", "product of activations")


@dataclass(frozen=True)
class Dot:
    """An op: its kind and precision, multiply-accumulates per byte of memory and per cycle, and its cycles."""

    op: str
    block: str | None
    kind: str
    precision: str
    intensity: float
    reached: float
    cycles: int


def dots(ops: Sequence[OpEstimate]) -> list[Dot]:
    """The ops that multiply."""
    return [
        Dot(
            op.op,
            op.block,
            _kind(op.op),
            _precision(op.op),
            min(op.macs / max(op.traffic.memory_bytes + op.traffic.written_bytes, LEAST_BYTES), MOST_INTENSE),
            op.macs / op.cycles,
            op.cycles,
        )
        for op in ops
        if op.macs and op.cycles
    ]


def _kind(op: str) -> str:
    if "DWConv" in op:
        return KINDS[1]
    return KINDS[2] if op.startswith("Batch Matrix Multiply") else KINDS[0]


def _precision(op: str) -> str:
    """Of the arithmetic, by the delegate's name for the op: ``(NHWC, F16)``, ``(NC, QD8, F32, QC8W)``."""
    first = next((word.strip() for word in op.partition("(")[2].split(",")[1:]), "F32")
    return {"F16": "fp16", "Q": "int8"}.get(first.rstrip(")")[: 1 if first.startswith("Q") else 3], "fp32")


def roofline_plot(
    shown: Sequence[Dot], ceilings: Ceilings, theme: Theme, form: Form, heading: str | None = None
) -> bytes:
    """The picture; at least one dot. ``heading`` is for one that stands alone, in lines."""
    used = {dot.precision for dot in shown}
    peaks = {name: peak for name, peak in ceilings.macs_per_cycle.items() if name in used}
    left = min(dot.intensity for dot in shown) / 2
    right = max(dot.intensity for dot in shown) * 2
    largest = max(dot.cycles for dot in shown)

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        for number, kind in enumerate(KINDS):
            some = [dot for dot in shown if dot.kind == kind]
            if some:
                sizes = [6 + 90 * dot.cycles / largest for dot in some]
                places = [dot.intensity for dot in some], [dot.reached for dot in some]
                axes.scatter(*places, s=sizes, color=theme.series[number], alpha=0.6, linewidths=0, label=kind)
        for name, peak in peaks.items():
            knee = peak / ceilings.memory_bytes_per_cycle
            points = sorted({min(left, knee), knee, max(right, knee)})
            roof = [min(peak, ceilings.memory_bytes_per_cycle * place) for place in points]
            axes.plot(points, roof, color=theme.ink, linewidth=1.2)
            axes.annotate(
                f"{name}: {peak:g} per cycle",
                (right, peak),
                (0, 3),
                textcoords="offset points",
                ha="right",
                va="bottom",
            )
        axes.set(xscale="log", yscale="log", xlim=(left, right))
        axes.set(xlabel="Multiply-accumulates per byte of memory", ylabel="Multiply-accumulates per cycle, estimated")
        lowest = min(dot.reached for dot in shown)
        highest = max(peaks.values(), default=max(dot.reached for dot in shown))
        axes.set_ylim(10 ** math.floor(math.log10(lowest)), 2 * highest)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(plain_numbers())
        axes.grid(color=theme.quiet, alpha=0.25, linewidth=0.6)
        axes.spines[["right", "top"]].set_visible(False)
        legend = figure.legend(loc="outside lower left", ncols=1)
        for handle in legend.legend_handles:
            handle.set_sizes([30])
        if heading is not None:
            figure.suptitle(heading, fontsize=9)

    return picture(draw, (4.4, 4.3 + heading_inches(heading)), theme, form, font_size=9)
