"""The layer of ``layers`` in each canonical form, against the exporter's graph and against its two projections alone
(the floor), by measured time.

    python -m benchmarks.attention.compare_forms [--runtime litert --runtime litert-latest] [--rounds 30] [--out
    benchmarks/results/attention_forms.md]

All models of one size are loaded together, anew each round, and run in turn on one thread (``peers.compare.measure``).
Ratios are of paired rounds, with their 95 % intervals. Writes the table (.md) and its numbers (.json) after each size.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import click

from benchmarks.attention.layers import FLOOR, SIZES, Size, build_forms, build_others, chosen_form
from benchmarks.peers.compare import machine_name, measure
from benchmarks.results_files import out_option, write_results
from converters.passes.linear_attention import ATTENTION_FORMS
from evit_mobile.results.stats import Ratio, paired_ratio, summarise
from evit_mobile.specs import Core, Target

RESULT = Path(__file__).resolve().parent.parent / "results" / "attention_forms.md"
TARGET = Target(core=Core.X86_64)
#: What a turn of one model takes, at least one inference; a model has two in a round.
TURN_SECONDS = 0.05
#: A ratio and the ends of its interval.
Measured = tuple[float, float, float]


@dataclass(frozen=True)
class Row:
    """One model on one runtime.

    Attributes:
        ratio: to the floor.
        chosen: it is what ``auto`` takes.
        behind: what ``auto`` takes to this one, where this is a form.
    """

    runtime: str
    channels: int
    tokens: int
    form: str
    ops: int
    partitions: int
    undelegated: int
    latency_us: float
    ratio: Measured
    chosen: bool
    behind: Measured | None


def rows_of(runtime: str, size: Size, models: dict[str, Path], chosen: str, rounds: int) -> Iterator[Row]:
    """Every model of one size."""
    from converters.tflite.inspection import inspect_model
    from evit_mobile.runtimes import RUNTIMES

    samples = measure(models, runtime, rounds, TURN_SECONDS)
    for name, path in models.items():
        counted = inspect_model(path, RUNTIMES[runtime], explain=False)
        yield Row(
            runtime,
            size.channels,
            size.tokens,
            name,
            counted.op_total,
            counted.partitions or 0,
            len(counted.undelegated),
            summarise(samples[name]).median,
            _measured(paired_ratio(samples[name], samples[FLOOR])),
            name == chosen,
            _measured(paired_ratio(samples[chosen], samples[name])) if name in ATTENTION_FORMS else None,
        )


def _measured(ratio: Ratio) -> Measured:
    low, high = (ratio.interval.low, ratio.interval.high) if ratio.interval else (float("nan"), float("nan"))
    return ratio.value, low, high


def as_markdown(rows: list[Row], note: str) -> str:
    """A table a runtime: forms down, sizes across, each cell µs and ratio to the floor."""
    lines = [
        "# Forms of one linear attention layer",
        "",
        f"One thread, all models of a size in turn in one process, on {note}.",
        "",
        "µs (ratio to the two projections alone, 95 % interval). Bold: what `auto` takes for x86-64. *Behind*: what",
        "that takes beside the fastest form.",
        "",
    ]
    for runtime in dict.fromkeys(row.runtime for row in rows):
        own = [row for row in rows if row.runtime == runtime]
        sizes = list(dict.fromkeys((row.channels, row.tokens) for row in own))
        lines += [f"## {runtime}", ""]
        heads = " | ".join(f"C{channels} N{tokens}" for channels, tokens in sizes)
        lines.append(f"| form | ops / partitions / undelegated | {heads} |")
        lines.append("| --- | --- |" + " --- |" * len(sizes))
        for form in dict.fromkeys(row.form for row in own):
            cells = {(row.channels, row.tokens): row for row in own if row.form == form}
            last = list(cells.values())[-1]
            texts = [_cell(cells.get(size)) for size in sizes]
            lines.append(f"| {form} | {last.ops} / {last.partitions} / {last.undelegated} | {' | '.join(texts)} |")
        lines += [f"| *behind* | | {' | '.join(_behind(own, size) for size in sizes)} |", ""]
    return "\n".join(lines)


def _cell(row: Row | None) -> str:
    if row is None:
        return "–"
    value, low, high = row.ratio
    text = f"{row.latency_us:.0f} ({value:.2f}, {low:.2f}–{high:.2f})"
    return f"**{text}**" if row.chosen else text


def _behind(rows: list[Row], size: tuple[int, int]) -> str:
    forms = [row for row in rows if (row.channels, row.tokens) == size and row.behind is not None]
    value, low, high = max(row.behind for row in forms if row.behind is not None)
    return "best" if value <= 1 else f"{value - 1:.1%} ({low - 1:.1%}–{high - 1:.1%})"


@click.command()
@click.option(
    "--runtime", "runtimes", multiple=True, default=("litert",), show_default=True, help="A runtime's name; repeatable."
)
@click.option("--rounds", default=30, show_default=True)
@out_option(RESULT)
def main(runtimes: tuple[str, ...], rounds: int, out: Path) -> None:
    """Compare the canonical forms of linear attention on this machine."""
    rows: list[Row] = []
    machine = machine_name()
    with tempfile.TemporaryDirectory() as scratch:
        for size in SIZES:
            folder = Path(scratch) / f"{size.channels}-{size.tokens}"
            folder.mkdir()
            forms = build_forms(size, folder, TARGET)
            chosen = chosen_form(size, folder, forms, TARGET)
            models = {**build_others(size, folder), **forms}
            for runtime in runtimes:
                rows += rows_of(runtime, size, models, chosen, rounds)
            write_results(out, as_markdown(rows, machine), {"machine": machine, "rows": [asdict(row) for row in rows]})
            click.echo(f"{size.tokens} tokens done", err=True)
    click.echo(out.read_text())


if __name__ == "__main__":
    main()
