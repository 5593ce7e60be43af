"""Ours, stock onnx2tf and litert-torch: the same weights, counted and timed side by side. ``make bench-peers`` runs it.

For each row and runtime the three models are open at once and run in turn, in an order that is drawn anew each round; a ratio is the
median over rounds of paired ratios, with its 95 % interval (``evit_mobile.results.stats``). The fastest other converter of a row is the
peer that we are held to. Latencies are this machine's: trust the ratios.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import subprocess
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import numpy as np

from android_bench.host import open_device
from android_bench.device import DeviceOptions
from benchmarks.peers.networks import ROWS, Row
from converters.inspect import inspect_model
from converters.pipeline import ConvertOptions, convert
from evit_mobile.results.stats import paired_ratio, summarise
from evit_mobile.runtimes import RUNTIMES
from evit_mobile.specs import Resolution

ROOT = Path(__file__).resolve().parent.parent.parent
CONVERTERS = ("ours", "onnx2tf", "litert-torch")
RUNTIME_NAMES = ("litert", "litert-latest")
#: One round of a model takes about this long, and at least one inference.
ROUND_SECONDS = 0.4


@dataclass
class Result:
    """One converter's model of a row on one runtime. ``ratio`` is ours / this one: below 1 ours is faster."""

    row: str
    runtime: str
    converter: str
    megabytes: float
    seconds: float
    ops: int
    partitions: int
    undelegated: int
    median_ms: float
    ratio: float
    low: float
    high: float


def make(row: Row, converter: str, folder: Path, python: Path) -> tuple[Path, float]:
    """The .tflite of ``row`` by ``converter`` in ``folder``, and the seconds that its conversion took."""
    out = folder / f"{row.title.replace(' ', '_').replace(',', '')}-{converter}.tflite"
    seconds_file = out.with_suffix(".seconds")
    if converter == "litert-torch":
        if not out.exists():
            command = [str(python), "-m", "benchmarks.peers.convert_litert_torch", row.model, row.resolution, str(out)]
            environment = {**os.environ, "PYTHONPATH": str(ROOT)}
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, env=environment)
            seconds_file.write_text(done.stdout.strip().splitlines()[-1])
        return out, float(seconds_file.read_text())
    options = ConvertOptions(resolution=Resolution.parse(row.resolution), rewrite=converter == "ours")
    report = convert(row.model, out, options)
    return out, sum(report.seconds.values())


def measure(models: dict[str, Path], runtime_name: str, rounds: int) -> dict[str, list[list[float]]]:
    """Rounds of latencies in microseconds by converter, one thread, all models open at once and run in turn."""
    samples: dict[str, list[list[float]]] = {name: [] for name in models}
    draw = random.Random(0)
    with contextlib.ExitStack() as stack:
        sessions = {name: stack.enter_context(RUNTIMES[runtime_name].open(path)) for name, path in models.items()}
        image = np.random.default_rng(0).standard_normal(next(iter(sessions.values())).inputs[0].shape).astype(np.float32)
        runs = {}
        for name, session in sessions.items():
            warm = session.time_us([image], 3)
            runs[name] = max(1, round(ROUND_SECONDS * 1e6 / warm[-1]))
        for _ in range(rounds):
            for name in draw.sample(list(sessions), len(sessions)):
                samples[name].append(sessions[name].time_us([image], runs[name]))
    return samples


def results_of(row: Row, folder: Path, python: Path, rounds: int) -> Iterator[Result]:
    """Every converter of ``row`` on every runtime."""
    made = {converter: make(row, converter, folder, python) for converter in CONVERTERS}
    for runtime_name in RUNTIME_NAMES:
        samples = measure({converter: path for converter, (path, _) in made.items()}, runtime_name, rounds)
        for converter, (path, seconds) in made.items():
            counted = inspect_model(path, RUNTIMES[runtime_name], explain=False)
            ratio = paired_ratio(samples["ours"], samples[converter])
            interval = ratio.interval
            yield Result(
                row.title, runtime_name, converter, round(path.stat().st_size / 1e6, 1), round(seconds, 1), len(counted.ops),
                counted.partitions, len(counted.undelegated), round(summarise(samples[converter]).median / 1000, 3), round(ratio.value, 3),
                round(interval.low, 3) if interval else float("nan"), round(interval.high, 3) if interval else float("nan"),
            )  # fmt: skip


def table(results: list[Result], machine: str) -> str:
    """Markdown."""
    lines = [
        f"Measured on {machine}; one thread, fp32. Ratio: ours / this converter, 95 % interval over rounds; below 1 ours is faster.",
        "",
        "| network | runtime | converter | MB | conversion s | ops | partitions | undelegated | median ms | ours / this |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    for item in results:
        ratio = "" if item.converter == "ours" else f"{item.ratio:.3f} ({item.low:.3f}–{item.high:.3f})"
        lines.append(
            f"| {item.row} | {item.runtime} | {item.converter} | {item.megabytes} | {item.seconds} | {item.ops} | {item.partitions} "
            f"| {item.undelegated} | {item.median_ms:.2f} | {ratio} |"
        )
    return "\n".join(lines) + "\n"


@click.command()
@click.option("--python", type=click.Path(path_type=Path), default=ROOT / "build/peers/venv/bin/python", help="litert-torch's interpreter.")
@click.option("--rounds", default=15)
@click.option("--only", multiple=True, help="Titles of rows.")
@click.option("--out", type=click.Path(path_type=Path), default=ROOT / "benchmarks/results/peers.md")
def main(python: Path, rounds: int, only: tuple[str, ...], out: Path) -> None:
    """Convert, measure, and write the table (.md) and its numbers (.json)."""
    folder = ROOT / "build/peers"
    folder.mkdir(parents=True, exist_ok=True)
    info = open_device("", DeviceOptions()).describe()
    versions = ", ".join(str(RUNTIMES[name].version()) for name in RUNTIME_NAMES)
    machine = f"{info.soc}, {time.strftime('%Y-%m-%d')}; {versions}"
    results: list[Result] = []
    for row in ROWS:
        if only and row.title not in only:
            continue
        results.extend(results_of(row, folder, python, rounds))
        click.echo(table(results, machine).splitlines()[-1], err=True)
        out.write_text(table(results, machine))
        out.with_suffix(".json").write_text(json.dumps({"machine": machine, "results": [asdict(item) for item in results]}, indent=1))


if __name__ == "__main__":
    main()
