"""What ``bench`` prints of an estimate: the time with its interval, and what it is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import click

from evit_mobile.cli.options import table_console
from evit_mobile.results.breakdown import Part, by_block, by_type
from evit_mobile.results.estimates import Estimate
from evit_mobile.results.record import Point
from evit_mobile.results.summary import Row

#: Types of op that are shown of each model; the rest is summed up.
SHOWN = 12
HEADINGS = ("estimated", "interval", "M cycles", "waiting", "MB L2", "L3", "memory", "written", "ratio", "interval", "")


def print_estimates(rows: Sequence[Row]) -> None:
    """One row per model and number of threads."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from evit_mobile.text import visible

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("model", overflow="fold", min_width=12)
    for heading in HEADINGS:
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(Text(visible(row.label)), *_cells(row))
    table_console(200).print(table)


def _cells(row: Row) -> list[str]:
    from evit_mobile.results.stats import Interval
    from evit_mobile.results.summary import show, show_interval, significant, significant_interval

    estimate = estimate_of(row.point)
    if estimate is None:
        return ["failed"]
    interval = Interval(estimate.low_us, estimate.high_us)
    cells = [f"{show('estimated_latency_us', estimate.estimated_latency_us)} ms"]
    cells += [show_interval("estimated_latency_us", interval), f"{estimate.cycles / 1e6:.2f}"]
    traffic = estimate.traffic
    sizes = (traffic.l2_bytes, traffic.l3_bytes, traffic.memory_bytes, traffic.written_bytes)
    cells += [f"{estimate.wait_cycles / estimate.cycles:.0%}", *(f"{size / 1e6:.1f}" for size in sizes)]
    if row.ratio is not None:
        cells += [significant(row.ratio.value, 3), significant_interval(row.ratio.interval, 3), row.verdict]
    return cells


def estimate_of(point: Point) -> Estimate | None:
    """The point's estimate; None if it failed."""
    return point.rounds[0].estimate if point.rounds else None


def parts_json(parts: Sequence[Part]) -> list[dict[str, Any]] | None:
    """One object per block or type of op; None without any."""
    return [{**asdict(part), "traffic": part.traffic.model_dump()} for part in parts] or None


def print_parts(point: Point) -> None:
    """Print the blocks of the network, and the types of op that take longest, with what of them is waiting."""
    blocks, types = by_block(point.op_estimates), by_type(point.op_estimates)
    if blocks:
        _print_parts(f"{point.name}, estimated by block:", blocks)
    _print_parts(f"{point.name}, estimated by type of op:", types[:SHOWN])
    if len(types) > SHOWN:
        click.echo(f"  {sum(part.share for part in types[SHOWN:]):6.1%}  {len(types) - SHOWN} other types")


def _print_parts(heading: str, parts: Sequence[Part]) -> None:
    from evit_mobile.text import visible

    click.echo(visible(heading))
    for part in parts:
        per_cycle = f"{part.macs / part.cycles:5.2f} MACs/cycle" if part.macs and part.cycles else " " * 16
        cells = (
            f"  {part.share:6.1%} {part.estimated_us / 1e3:10.3f} ms  {part.waiting:4.0%} waiting  "
            f"{part.memory_bytes / 1e6:8.2f} MB  {per_cycle}"
        )
        click.echo(visible(f"{cells}  {part.ops:4} x {part.name}"))


def figures(row: Row) -> dict[str, Any]:
    """The statistics of what was measured, or the estimate, under a name that says which."""
    estimate = estimate_of(row.point)
    if estimate is not None:
        return estimate.model_dump(mode="json")
    return {row.point.quantity or "latency_us": asdict(row.summary) if row.summary else None}
