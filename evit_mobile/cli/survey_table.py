"""The table that ``verify`` and ``inspect`` show for several runtimes: one line each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Mapping, Sequence

from evit_mobile.cli.options import table_console

if TYPE_CHECKING:
    from converters.tflite.survey import SurveyRow


def print_survey(rows: Sequence[SurveyRow], parity: Mapping[str, str] | None = None) -> None:
    """Print one line a runtime; ``parity`` gives, by runtime, what to say of it in a column of its own."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE)
    middle = ["parity"] if parity is not None else []
    for heading in ("runtime", "version", *middle, "partitions", "undelegated", "latency (95 % interval)"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        verdict = [parity.get(row.runtime, "")] if parity is not None else []
        if row.version is None:
            table.add_row(
                row.runtime, "", *verdict, "", "", f"not installed: evit-mobile runtimes install {row.runtime}"
            )
            continue
        partitions = str(row.partitions) if row.partitions is not None else "" if row.error else "not told"
        table.add_row(row.runtime, row.version, *verdict, partitions, _undelegated(row), row.error or _latency(row))
    table_console().print(table)


def _undelegated(row: SurveyRow) -> str:
    if row.partitions is None:
        known = {True: "0", False: "some", None: "not told"}
        return "" if row.error else known[row.fully_accelerated]
    kinds = ", ".join(f"{count} {kind}" for kind, count in row.undelegated.items())
    return f"{sum(row.undelegated.values())}{f': {kinds}' if kinds else ''}"


def _latency(row: SurveyRow) -> str:
    if row.latency_us is None or row.ratio is None:
        return ""
    interval = row.ratio_interval
    spread = (
        f" ({interval.low:.2f}–{interval.high:.2f})" if interval is not None and interval.low != interval.high else ""
    )
    return f"{row.latency_us / 1000:.2f} ms, ×{row.ratio:.2f}{spread}"
