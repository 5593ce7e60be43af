"""What ``bench`` prints of an estimate: the time with its interval, and what it is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import click

from evit_mobile.cli.options import table_console
from evit_mobile.results.estimates import Estimate, OpEstimate
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


def by_op_type(ops: Sequence[OpEstimate]) -> list[dict[str, Any]]:
    """One row per type of op, the one that takes longest first."""
    whole = sum(op.estimated_us for op in ops)
    groups: dict[str, list[OpEstimate]] = {}
    for op in ops:
        groups.setdefault(op.op, []).append(op)
    rows = [
        {
            "op": name,
            "nodes": len(group),
            "estimated_us": sum(op.estimated_us for op in group),
            "share": sum(op.estimated_us for op in group) / whole,
            "cycles": sum(op.cycles for op in group),
            "wait_cycles": sum(op.wait_cycles for op in group),
            "memory_bytes": sum(op.traffic.memory_bytes + op.traffic.written_bytes for op in group),
        }
        for name, group in groups.items()
    ]
    return sorted(rows, key=lambda row: -row["estimated_us"])


def print_op_types(point: Point) -> None:
    """Print the types of op that take longest, with what of it is waiting for memory."""
    from evit_mobile.text import visible

    rows = by_op_type(point.op_estimates)
    click.echo(visible(f"{point.name}, estimated by type of op:"))
    for row in rows[:SHOWN]:
        waiting = row["wait_cycles"] / row["cycles"] if row["cycles"] else 0.0
        cells = (
            f"  {row['share']:6.1%} {row['estimated_us'] / 1e3:10.3f} ms  {waiting:4.0%} waiting  "
            f"{row['memory_bytes'] / 1e6:8.2f} MB"
        )
        click.echo(visible(f"{cells}  {row['nodes']:4} x {row['op']}"))
    if len(rows) > SHOWN:
        click.echo(f"  {sum(row['share'] for row in rows[SHOWN:]):6.1%}  {len(rows) - SHOWN} other types")


def figures(row: Row) -> dict[str, Any]:
    """The statistics of what was measured, or the estimate, under a name that says which."""
    estimate = estimate_of(row.point)
    if estimate is not None:
        return estimate.model_dump(mode="json")
    return {row.point.quantity or "latency_us": asdict(row.summary) if row.summary else None}
