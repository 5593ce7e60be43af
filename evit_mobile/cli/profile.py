"""Where the time of an inference goes, by type of op: what ``bench --profile`` shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Mapping, Sequence

import click

from evit_mobile.results.record import OpTime, Point

#: Types that are shown of each model; the rest is summed up.
SHOWN = 12


def by_type(profile: Sequence[OpTime], reasons: Mapping[str, str]) -> list[dict[str, Any]]:
    """One row a type of op and side of the delegate's border, the longest first.

    Args:
        reasons: why ops of a type stayed outside the delegate, as far as that is known.
    """
    total = sum(op.mean_us for op in profile)
    groups: dict[tuple[str, bool], list[OpTime]] = {}
    for op in profile:
        groups.setdefault((op.op, op.partition is not None), []).append(op)
    rows = [
        {
            "op": name,
            "delegated": delegated,
            "nodes": len(ops),
            "mean_us": sum(op.mean_us for op in ops),
            "share": sum(op.mean_us for op in ops) / total if total else 0.0,
            "reason": None if delegated else reasons.get(name),
        }
        for (name, delegated), ops in groups.items()
    ]
    return sorted(rows, key=lambda row: -float(row["mean_us"]))


def reasons_of(path: Path) -> dict[str, str]:
    """Why ops of the model stay outside XNNPACK, by type, as this machine's runtime sees it."""
    from converters.tflite.inspection import inspect_model

    return {op.type: op.reason for op in inspect_model(path).undelegated}


def print_profile(point: Point, reasons: Mapping[str, str]) -> None:
    """Print the types that take longest."""
    from evit_mobile.text import visible

    rows = by_type(point.profile, reasons)
    click.echo(visible(f"{point.name}: {sum(row['mean_us'] for row in rows) / 1e3:.3f} ms under the profiler"))
    for row in rows[:SHOWN]:
        outside = "" if row["delegated"] else f"  outside the delegate{': ' + row['reason'] if row['reason'] else ''}"
        click.echo(
            visible(f"  {row['share']:6.1%} {row['mean_us'] / 1e3:10.3f} ms  {row['nodes']:4} x {row['op']}{outside}")
        )
    if len(rows) > SHOWN:
        click.echo(f"  {sum(row['share'] for row in rows[SHOWN:]):6.1%}  {len(rows) - SHOWN} other types")
