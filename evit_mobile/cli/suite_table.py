"""What ``bench --suite`` prints: curves as a table, verdicts, and where the result is."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Sequence

import click

from evit_mobile.cli.options import print_json, table_console

if TYPE_CHECKING:
    from evit_mobile.results.judge.curves import Curve, CurvePoint, Series
    from evit_mobile.results.judge.verdict import Verdict
    from evit_mobile.results.record import ResultSet


def print_suite(measured: Sequence[tuple[Path, ResultSet]], as_json: bool) -> None:
    """Tables and verdicts of each device, or one JSON document of all."""
    from evit_mobile.results.judge.curves import curves, distrust
    from evit_mobile.results.judge.verdicts import verdicts
    from evit_mobile.results.summary import caveats, rows, warnings
    from evit_mobile.text import visible

    documents = []
    for out, results in measured:
        texts = [*warnings(rows(results.points)), *filter(None, [distrust(results)])]
        for text in texts:
            click.echo(f"warning: {text}", err=True)
        drawn, judged = curves(results), verdicts(results)
        documents.append(_document(out, results, drawn, judged, texts))
        if as_json:
            continue
        if len(measured) > 1:
            click.echo(f"{visible(results.device.name)}: {visible(results.device.soc)}")
        if results.suite is not None and not results.suite.counts_only:
            for text in caveats(results):
                click.echo(text)
        for curve in drawn:
            _print_curve(curve)
        for verdict in judged:
            _print_verdict(verdict)
        click.echo(f"results: {out}")
    if as_json:
        print_json({"results": documents})
    else:
        click.echo(f"next: evit-mobile report {' '.join(str(out) for out, _ in measured)}")


def _print_curve(curve: Curve) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from evit_mobile.text import number, visible

    xs = sorted({point.x for series in curve.series for point in series.points})
    unit = f", {curve.y.unit}" if curve.y.unit else ""
    table = Table(
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        title=Text(visible(f"{curve.title} ({curve.y.label}{unit})")),
        title_justify="left",
    )
    table.add_column(curve.x.label, justify="right", no_wrap=True)
    for series in curve.series:
        table.add_column(Text(visible(series.name)), justify="right")
    for x in xs:
        table.add_row(number(x), *(_cell(series, x) for series in curve.series))
    if any(series.growth for series in curve.series):
        table.add_row("exponent", *(_exponent(series) for series in curve.series))
    table_console().print(table)


def _cell(series: Series, x: float) -> str:
    match = next((point for point in series.points if point.x == x), None)
    return "" if match is None else _value(match)


def _value(point: CurvePoint) -> str:
    from evit_mobile.results.summary import significant, significant_interval

    if point.value is None:
        return point.mark or ""
    return significant(point.value) + (f"  ({significant_interval(point.interval)})" if point.interval else "")


def _exponent(series: Series) -> str:
    growth = series.growth
    if growth is None:
        return ""
    return f"{growth.exponent:.2f}" + (
        f"  ({growth.interval.low:.2f}–{growth.interval.high:.2f})" if growth.interval else ""
    )


def _print_verdict(verdict: Verdict) -> None:
    from evit_mobile.text import visible

    where = f", {verdict.setting}" if verdict.setting else ""
    click.echo(visible(f"{verdict.claim}{where}: {verdict.outcome.upper()}") + f"\n  claim: {verdict.text}")
    click.echo(visible(f"  found: {verdict.reason}"))
    for text in verdict.caveats:
        click.echo(visible(f"  note: {text}"))


def _document(
    out: Path, results: ResultSet, drawn: Sequence[Curve], judged: Sequence[Verdict], texts: Sequence[str]
) -> dict[str, Any]:
    return {
        "out": str(out),
        "suite": results.suite.model_dump(mode="json") if results.suite else None,
        "device": results.device.model_dump(mode="json"),
        "warnings": list(texts),
        "curves": [asdict(curve) for curve in drawn],
        "verdicts": [asdict(verdict) for verdict in judged],
    }
