"""The charts of estimates: what whole models are made of, and of a profiled one its blocks, its types of op and its
roofline.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from evit_mobile.results.breakdown import Part, by_block, by_type
from evit_mobile.results.draw.breakdown_plot import breakdown_plot
from evit_mobile.results.draw.chart import Chart
from evit_mobile.results.draw.estimate_plot import HEADER, bar_plot, bars, in_words
from evit_mobile.results.draw.interval_plot import Form, Theme
from evit_mobile.results.draw.roofline_plot import dots, roofline_plot
from evit_mobile.results.estimates import Estimate
from evit_mobile.results.record import Point, ResultSet
from evit_mobile.results.summary import caveats, rows, significant
from evit_mobile.text import visible

BARS_CAPTION = (
    "Cycles of one core, by the model of the core. Waiting is the time for memory that does not overlap with computing."
)
PARTS_CAPTION = f"{BARS_CAPTION} Beside each bar, its share of the estimated latency."
ROOFLINE_CAPTION = (
    "A dot is an op that multiplies, its area the cycles that it takes. Lines: what the core's scheduling model and "
    "its bandwidth from memory allow. Ops whose data stays in the caches are far to the right. Estimated, not measured."
)
_PART_HEADER = (
    "ops", "estimated, ms", "share", "M cycles", "waiting", "L2, MB", "L3, MB", "memory, MB", "written, MB", "M MACs",
    "MACs per cycle",
)  # fmt: skip
_ROOFLINE_HEADER = ("op", "block", "precision", "MACs per byte", "MACs per cycle", "M cycles")


def estimate_charts(results: ResultSet) -> Iterator[Chart]:
    """Nothing of results that are not estimates."""
    shown = bars(rows(results.points))
    if not shown:
        return
    heading = f"Estimated cycles, {results.device.soc}"

    def draw(theme: Theme, form: Form, *, titled: bool) -> bytes:
        return bar_plot(shown, theme, form, heading if titled else None)

    cells = tuple(bar.cells for bar in shown)
    yield Chart("estimated-cycles", heading, BARS_CAPTION, f"{heading}: {in_words(shown)}", (), HEADER, cells, draw)
    profiled = {point.name: point for point in reversed(results.points) if point.op_estimates and point.rounds}
    for point in reversed(profiled.values()):
        yield from _point_charts(point, results)


def _point_charts(point: Point, results: ResultSet) -> Iterator[Chart]:
    """Cycles are those of one core, so the number of threads makes no difference."""
    blocks, types = by_block(point.op_estimates), by_type(point.op_estimates)
    where = f"{point.name}, {results.device.soc}"
    notes = tuple(caveats(results))
    if blocks:
        yield _parts_chart(
            f"estimated-blocks-{point.name}", f"Estimated cycles by block: {where}", "block", blocks, notes
        )
    yield _parts_chart(f"estimated-ops-{point.name}", f"Estimated cycles by type of op: {where}", "op", types, notes)
    estimate = point.rounds[0].estimate
    if estimate is not None and estimate.ceilings is not None and dots(point.op_estimates):
        yield _roofline_chart(point, estimate, f"Estimated roofline: {where}", notes)


def _alone(title: str, notes: Sequence[str]) -> str:
    """The heading of a picture without a page around it: with what error the estimate is made, too."""
    return "\n".join(line for text in (title, *notes) for line in textwrap.wrap(visible(text.split(". ")[0]), 60))


def _parts_chart(key: str, title: str, what: str, parts: Sequence[Part], notes: tuple[str, ...]) -> Chart:
    def draw(theme: Theme, form: Form, *, titled: bool) -> bytes:
        return breakdown_plot(parts, theme, form, _alone(title, notes) if titled else None)

    words = "; ".join(f"{part.name} {part.share:.1%}, {part.waiting:.0%} of it waiting" for part in parts)
    cells = tuple(_part_cells(part) for part in parts)
    return Chart(key, title, PARTS_CAPTION, f"{title}: {words}", notes, (what, *_PART_HEADER), cells, draw)


def _part_cells(part: Part) -> tuple[str | float | int | None, ...]:
    traffic = part.traffic
    sizes = (traffic.l2_bytes, traffic.l3_bytes, traffic.memory_bytes, traffic.written_bytes)
    per_cycle = part.macs / part.cycles if part.cycles and part.macs else None
    return (
        part.name,
        part.ops,
        part.estimated_us / 1e3,
        f"{part.share:.1%}",
        part.cycles / 1e6,
        f"{part.waiting:.0%}",
        *(size / 1e6 for size in sizes),
        part.macs / 1e6,
        per_cycle,
    )


def _roofline_chart(point: Point, estimate: Estimate, title: str, notes: tuple[str, ...]) -> Chart:
    ceilings = estimate.ceilings
    assert ceilings is not None
    shown = dots(point.op_estimates)

    def draw(theme: Theme, form: Form, *, titled: bool) -> bytes:
        return roofline_plot(shown, ceilings, theme, form, _alone(title, notes) if titled else None)

    cells = tuple(
        (dot.op, dot.block, dot.precision, dot.intensity, dot.reached, dot.cycles / 1e6)
        for dot in sorted(shown, key=lambda dot: -dot.cycles)
    )
    multiplying = sum(dot.cycles for dot in shown) / max(estimate.cycles, 1)
    alt = f"{title}: {len(shown)} ops that multiply take {multiplying:.0%} of the cycles; {_reach(point)}"
    return Chart(f"estimated-roofline-{point.name}", title, ROOFLINE_CAPTION, alt, notes, _ROOFLINE_HEADER, cells, draw)


def _reach(point: Point) -> str:
    """What each kind of op reaches on average."""
    groups: dict[str, list[float]] = {}
    for dot in dots(point.op_estimates):
        groups.setdefault(dot.kind, [0.0, 0.0])
        groups[dot.kind][0] += dot.reached * dot.cycles
        groups[dot.kind][1] += dot.cycles
    return "; ".join(f"{kind} {significant(macs / cycles, 3)} per cycle" for kind, (macs, cycles) in groups.items())
