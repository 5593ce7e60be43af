"""The layer of ``layers`` in each canonical form, against the exporter's graph and against its two projections alone
(the floor), by measured time.

    python -m benchmarks.attention.compare_forms [--runtime litert --runtime litert-latest] [--rounds 25] [--out
    benchmarks/results]

All models of one size are loaded at once and timed in turn, forwards and backwards (A B C C B A …), one thread; a
figure is the median over rounds, a ratio the median of the rounds' ratios with a 95 % bootstrap interval. Writes
``attention_forms.json`` and ``attention_forms.md``.
"""

from __future__ import annotations

import contextlib
import platform
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from benchmarks.attention.layers import FLOOR, SIZES, Size, build_forms, build_others
from benchmarks.results_files import write_results
from evit_mobile.specs import Core, Target
from evit_mobile.turns import turns

TARGET = Target(core=Core.X86_64)
SAMPLE_US = 20_000.0


@dataclass(frozen=True)
class Row:
    """One model on one runtime. ``ratio`` is to the floor, with its interval."""

    runtime: str
    channels: int
    tokens: int
    form: str
    ops: int
    partitions: int
    undelegated: int
    latency_us: float
    ratio: float
    ratio_low: float
    ratio_high: float


def measure(runtime: str, size: Size, models: dict[str, Path], rounds: int) -> Iterator[Row]:
    """Load all models at once, time them in turn."""
    from converters.tflite.partitions import read_partitioning
    from evit_mobile.runtimes import RUNTIMES
    from evit_mobile.runtimes.base import Session

    with contextlib.ExitStack() as stack:
        sessions: dict[str, Session] = {}
        inputs, runs = {}, {}
        random = np.random.default_rng(0)
        for name, path in models.items():
            sessions[name] = session = stack.enter_context(RUNTIMES[runtime].open(path, threads=1))
            inputs[name] = [random.standard_normal(info.shape).astype(np.float32) for info in session.inputs]
            warm = session.time_us(inputs[name], 3)
            runs[name] = max(1, round(SAMPLE_US / min(warm)))
        samples: dict[str, list[float]] = {name: [] for name in models}
        for _, order in zip(range(rounds), turns(models)):
            for name in order:
                samples[name].append(float(np.median(sessions[name].time_us(inputs[name], runs[name]))))
        floor = np.array(samples[FLOOR])
        for name, session in sessions.items():
            parts = read_partitioning(session.ops(), [info.index for info in session.outputs])
            own = sum(op.name != "DELEGATE" for op in session.ops())
            times = np.array(samples[name])
            ratio, low, high = _interval(times / floor)
            yield Row(
                runtime,
                size.channels,
                size.tokens,
                name,
                own,
                parts.count,
                len(parts.undelegated),
                float(np.median(times)),
                ratio,
                low,
                high,
            )


def _interval(ratios: NDArray[np.float64]) -> tuple[float, float, float]:
    from scipy import stats

    if np.ptp(ratios) == 0:
        return (float(ratios[0]),) * 3
    interval = stats.bootstrap(
        (ratios,), np.median, confidence_level=0.95, rng=np.random.default_rng(0), method="percentile"
    )
    return float(np.median(ratios)), float(interval.confidence_interval.low), float(interval.confidence_interval.high)


def as_markdown(rows: list[Row], machine: dict[str, object]) -> str:
    """A table a runtime: forms down, sizes across, each cell µs and ratio to the floor."""
    lines = ["# Forms of one linear attention layer", ""]
    lines += [f"{machine['cpu']} ({machine['instruction_set']}), one thread, {machine['rounds']} rounds in turn.", ""]
    lines += ["µs (ratio to the two projections alone, 95 % interval)", ""]
    for runtime in dict.fromkeys(row.runtime for row in rows):
        own = [row for row in rows if row.runtime == runtime]
        sizes = list(dict.fromkeys((row.channels, row.tokens) for row in own))
        lines += [f"## {machine['runtimes'][runtime]}", ""]  # type: ignore[index]
        heads = " | ".join(f"C{channels} N{tokens}" for channels, tokens in sizes)
        lines.append(f"| form | ops / partitions / undelegated | {heads} |")
        lines.append("| --- | --- |" + " --- |" * len(sizes))
        for form in dict.fromkeys(row.form for row in own):
            cells = {(row.channels, row.tokens): row for row in own if row.form == form}
            first = next(iter(cells.values()))
            texts = [_cell(cells.get(size)) for size in sizes]
            lines.append(
                f"| {form} | {first.ops} / {first.partitions} / {first.undelegated} | " + " | ".join(texts) + " |"
            )
        lines.append("")
    return "\n".join(lines)


def _cell(row: Row | None) -> str:
    if row is None:
        return "–"
    return f"{row.latency_us:.0f} ({row.ratio:.2f}, {row.ratio_low:.2f}–{row.ratio_high:.2f})"


def _machine(runtimes: tuple[str, ...], rounds: int) -> dict[str, object]:
    from evit_mobile.runtimes import RUNTIMES

    info = Path("/proc/cpuinfo")
    fields = dict(line.split(":", 1) for line in info.read_text().splitlines() if ":" in line) if info.exists() else {}
    fields = {key.strip(): value.strip() for key, value in fields.items()}
    flags = fields.get("flags", fields.get("Features", "")).split()
    known = [flag for flag in ("avx2", "fma", "avx512f", "avx512vnni", "amx_tile", "asimddp", "i8mm") if flag in flags]
    return {
        "cpu": fields.get("model name", platform.processor() or platform.machine()),
        "instruction_set": " ".join(known) or platform.machine(),
        "rounds": rounds,
        "runtimes": {name: str(RUNTIMES[name].version()) for name in runtimes},
    }


@click.command()
@click.option(
    "--runtime", "runtimes", multiple=True, default=("litert",), show_default=True, help="A runtime's name; repeatable."
)
@click.option("--rounds", default=25, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=Path("benchmarks/results"), show_default=True)
def main(runtimes: tuple[str, ...], rounds: int, out: Path) -> None:
    """Compare the canonical forms of linear attention on this machine."""
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as scratch:
        for size in SIZES:
            folder = Path(scratch) / f"{size.channels}-{size.tokens}"
            folder.mkdir()
            models = {**build_others(size, folder), **build_forms(size, folder, TARGET)}
            for runtime in runtimes:
                rows += measure(runtime, size, models, rounds)
            click.echo(f"{size.tokens} tokens done", err=True)
    machine = _machine(runtimes, rounds)
    text = as_markdown(rows, machine)
    write_results(out / "attention_forms.md", text, {"machine": machine, "rows": [asdict(row) for row in rows]})
    click.echo(text)


if __name__ == "__main__":
    main()
