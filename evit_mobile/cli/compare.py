"""``evit-mobile compare``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from evit_mobile.cli.options import json_option, print_json, progress, table_console
from evit_mobile.errors import ClaimError
from evit_mobile.text import visible

if TYPE_CHECKING:
    from evit_mobile.results.judge.compare import Comparison, Difference
    from evit_mobile.results.record import Point

ABOUT = (
    "Ratio: after / before with its 95% interval. p: Mann-Whitney over rounds, adjusted for the number of models; "
    "below 0.05 a difference "
    "is called one. Files are measured at different times, and a machine that changed between them counts as a "
    "difference, too."
)


class PercentType(click.ParamType[float]):
    """``5%`` is 0.05."""

    name = "PERCENT"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        match = re.fullmatch(r"(\d{1,4}(?:\.\d{1,6})?)\s*%", str(value).strip())
        if match is None:
            self.fail(f"{value!r} is not a percentage; write for example 5%", param, ctx)
        return float(match[1]) / 100


@click.command("compare")
@click.argument("before", metavar="BEFORE.json", type=click.Path(path_type=Path))
@click.argument("after", metavar="AFTER.json", type=click.Path(path_type=Path))
@click.option(
    "--fail-if-slower",
    "limit",
    type=PercentType(),
    metavar="5%",
    help="Exit with 1 where a model is significantly and by more than this slower (or needs more instructions), "
    "failed or is gone.",
)
@click.option("--allow-unlike", is_flag=True, help="Compare other devices and settings too, and say what differs.")
@click.option("--markdown", is_flag=True, help="Print Markdown, for a pull request.")
@json_option
def command(before: Path, after: Path, limit: float | None, allow_unlike: bool, markdown: bool, as_json: bool) -> None:
    """Say what became slower or faster from one result file to another of the same device and settings.

    \b
    evit-mobile compare before.json after.json
    evit-mobile compare before.json after.json --fail-if-slower 5% --markdown
    """
    from evit_mobile.results.files import load
    from evit_mobile.results.judge.compare import compare

    if markdown and as_json:
        raise click.UsageError("--markdown and --json are two forms of the same; give one of them")
    with progress("comparing"):
        comparison = compare(load(before), load(after), allow_unlike=allow_unlike)
    failed = [
        difference for difference in comparison.differences if limit is not None and difference.is_regression(limit)
    ]
    if as_json:
        print_json(_document(comparison, limit, failed))
    elif markdown:
        click.echo("\n".join(_markdown(comparison, limit, failed)))
    else:
        _print(comparison)
    if failed:
        assert limit is not None
        raise ClaimError(
            f"{len(failed)} of {len(comparison.differences)} regressed: "
            f"{'; '.join(_regression(difference, limit) for difference in failed)}"
        )


def _regression(difference: Difference, limit: float) -> str:
    from evit_mobile.results.judge.compare import Status

    if difference.status in (Status.FAILED_AFTER, Status.ONLY_BEFORE):
        return f"{difference.label} {'failed' if difference.status is Status.FAILED_AFTER else 'is gone'}"
    assert difference.change is not None
    return f"{difference.label} is {difference.change.ratio - 1:.1%} {difference.verdict} ({limit * 100:g}% is allowed)"


def _cells(difference: Difference) -> tuple[str, str, str, str, str, str]:
    """Before, after, ratio, its interval, p, and what follows."""
    from evit_mobile.results.judge.compare import Status
    from evit_mobile.results.summary import significant, significant_interval

    ratio = interval = p_value = ""
    if difference.change is not None:
        ratio = significant(difference.change.ratio)
        interval = significant_interval(difference.change.interval) if difference.change.interval else ""
    if difference.p_value is not None:
        p_value = f"{difference.p_value:.3f}" if difference.p_value >= 0.001 else "<0.001"
    result = (
        difference.verdict or "no difference shown" if difference.status is Status.COMPARED else difference.status.value
    )
    return _median(difference.before), _median(difference.after), ratio, interval, p_value, result


def _median(point: Point | None) -> str:
    from evit_mobile.results.stats import summarise
    from evit_mobile.results.summary import show, unit

    if point is None or point.quantity is None:
        return "–"
    return f"{show(point.quantity, summarise(point.values).median)} {unit(point.quantity)}"


def _count(comparison: Comparison) -> str:
    """``2 faster, 1 slower, 3 no difference shown``."""
    results = [_cells(difference)[-1] for difference in comparison.differences]
    return ", ".join(f"{results.count(text)} {text}" for text in dict.fromkeys(results))


def _print(comparison: Comparison) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("model", overflow="fold", min_width=12)
    for heading in ("before", "after", "ratio", "95% interval", "p", ""):
        table.add_column(heading, justify="right", no_wrap=True)
    for difference in comparison.differences:
        table.add_row(Text(visible(difference.label)), *_cells(difference))
    table_console().print(table)
    for text in _notes(comparison):
        click.echo(visible(text))
    click.echo(_count(comparison))


def _notes(comparison: Comparison) -> Iterator[str]:
    yield from comparison.notes
    for difference in comparison.differences:
        yield from (f"{difference.label}: {text}" for text in difference.notes)


def _markdown(comparison: Comparison, limit: float | None, failed: list[Difference]) -> Iterator[str]:
    verdict = ""
    if limit is not None:
        verdict = f"{f'**{len(failed)} regressed**' if failed else 'none regressed'} by more than {limit * 100:g}%: "
    yield f"**evit-mobile compare**: {verdict}{_count(comparison)}"
    yield ""
    yield "| model | before | after | ratio | 95% interval | p | |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: | --- |"
    for difference in comparison.differences:
        *figures, result = _cells(difference)
        marked = f"**{result}**" if difference in failed else result
        yield f"| {_code(difference.label)} | {' | '.join(figures)} | {marked} |"
    yield ""
    yield from (f"* {_code(text)}" for text in _notes(comparison))
    yield f"\n<sub>{ABOUT}</sub>"


def _code(text: str) -> str:
    """``text`` as a code span of a table, in which GitHub reads no markup, no HTML and no mention."""
    text = visible(text).replace("|", "¦")
    fence = "`" * (max(map(len, re.findall("`+", text)), default=0) + 1)
    pad = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{pad}{text}{pad}{fence}"


def _document(comparison: Comparison, limit: float | None, failed: list[Difference]) -> dict[str, Any]:
    """What ``--json`` prints; medians in the unit that their field's name says."""
    from dataclasses import asdict

    from evit_mobile.results.stats import summarise

    def median(point: Point | None) -> float | None:
        return summarise(point.values).median if point is not None and point.rounds else None

    return {
        "regressed": [difference.label for difference in failed],
        "limit": limit,
        "notes": list(comparison.notes),
        "differences": [
            {
                "name": difference.label,
                "status": difference.status.value,
                "quantity": next(
                    (point.quantity for point in (difference.after, difference.before) if point and point.quantity),
                    None,
                ),
                "before": median(difference.before),
                "after": median(difference.after),
                "ratio": difference.change.ratio if difference.change else None,
                "interval": asdict(difference.change.interval)
                if difference.change and difference.change.interval
                else None,
                "p_value": difference.p_value,
                "is_significant": difference.is_significant,
                "verdict": difference.verdict or None,
                "notes": list(difference.notes),
            }
            for difference in comparison.differences
        ],
    }
