"""Ours, stock onnx2tf and litert-torch: the same weights, counted and timed side by side. ``make bench-peers`` runs it.

``--python`` names the interpreter of an environment with ``requirements.txt``, which litert-torch needs for itself.

For each row and runtime the three models are loaded together and run in turn, in an order that is drawn anew each
round; a ratio is the median over rounds of paired ratios, with its 95 % interval (``evit_mobile.results.stats``). The
fastest other converter of a row is the peer that we are held to. Latencies are this machine's: trust the ratios.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import numpy as np
from scipy.stats import gmean

from android_bench.device import DeviceOptions
from android_bench.host import open_device
from benchmarks.peers.networks import ROWS, Row
from benchmarks.readme import update_readme
from benchmarks.results_files import write_results
from converters.options import ConvertOptions
from converters.pipeline import convert
from converters.tflite.inspection import inspect_model
from evit_mobile.arrays import Array
from evit_mobile.results.stats import paired_ratio, summarise
from evit_mobile.runtimes import RUNTIMES, Session
from evit_mobile.specs import Resolution
from evit_mobile.turns import turns

ROOT = Path(__file__).resolve().parent.parent.parent
CONVERTERS = ("ours", "onnx2tf", "litert-torch")
RUNTIME_NAMES = ("litert", "litert-latest")
#: Turns of each model in a round; one takes about so many seconds, and at least one inference.
TURNS, TURN_SECONDS = 2, 0.25
#: Rows of at least this many pixels a side count in the geometric mean: below, attention is a small part.
LARGE_SIDE = 512


@dataclass
class Result:
    """One converter's model of a row on one runtime. ``ratio`` is ours / this one: below 1 ours is faster."""

    row: str
    runtime: str
    converter: str
    megabytes: float
    seconds: float
    ops: int
    partitions: int | None
    undelegated: int
    median_ms: float
    ratio: float
    low: float
    high: float

    @property
    def cells(self) -> str:
        return f"{self.ratio:.3f} ({self.low:.3f}–{self.high:.3f})"


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
    ours = converter == "ours"
    options = ConvertOptions(resolution=Resolution.parse(row.resolution), rewrite=ours, check=ours)
    report = convert(row.model, out, options)
    return out, sum(report.seconds.values())


def measure(
    models: dict[str, Path], runtime_name: str, rounds: int, turn_seconds: float = TURN_SECONDS
) -> dict[str, list[list[float]]]:
    """Rounds of latencies in microseconds by converter, one thread, all models open at once and run in turn.

    Every round loads the models anew: where the weights and the arena come to lie in memory moves a model's latency by
    several per cent for as long as it stays loaded, so rounds of one load would agree with each other and not with the
    next.
    """
    samples: dict[str, list[list[float]]] = {name: [] for name in models}
    for number in range(rounds):
        with contextlib.ExitStack() as stack:
            orders = turns(models, number)
            sessions = {name: stack.enter_context(RUNTIMES[runtime_name].open(models[name])) for name in next(orders)}
            inputs = {name: _drawn(session) for name, session in sessions.items()}
            runs = {
                name: max(1, round(turn_seconds * 1e6 / session.time_us(inputs[name], 3)[-1]))
                for name, session in sessions.items()
            }
            times: dict[str, list[float]] = {name: [] for name in models}
            for _, order in zip(range(TURNS), orders):
                for name in order:
                    times[name] += sessions[name].time_us(inputs[name], runs[name])
        for name, values in times.items():
            samples[name].append(values)
    return samples


def _drawn(session: Session) -> list[Array]:
    """Inputs of a model: the same for models of the same shapes."""
    draw = np.random.default_rng(0)
    return [info.quantise(draw.standard_normal(info.shape).astype(np.float32)) for info in session.inputs]


def results_of(row: Row, folder: Path, python: Path, rounds: int) -> Iterator[Result]:
    """Every converter of ``row`` on every runtime."""
    files = {converter: make(row, converter, folder, python) for converter in CONVERTERS}
    for runtime_name in RUNTIME_NAMES:
        samples = measure({converter: path for converter, (path, _) in files.items()}, runtime_name, rounds)
        for converter, (path, seconds) in files.items():
            counted = inspect_model(path, RUNTIMES[runtime_name], explain=False)
            ratio = paired_ratio(samples["ours"], samples[converter])
            interval = ratio.interval
            yield Result(
                row.title,
                runtime_name,
                converter,
                round(path.stat().st_size / 1e6, 1),
                round(seconds, 1),
                len(counted.ops),
                counted.partitions,
                len(counted.undelegated),
                round(summarise(samples[converter]).median / 1000, 3),
                round(ratio.value, 3),
                round(interval.low, 3) if interval else float("nan"),
                round(interval.high, 3) if interval else float("nan"),
            )


def best_peers(results: list[Result]) -> list[tuple[Result, Result]]:
    """(ours, the fastest other) for each row on each runtime."""
    pairs = []
    for ours in (item for item in results if item.converter == "ours"):
        peers = [item for item in results if (item.row, item.runtime) == (ours.row, ours.runtime) and item is not ours]
        pairs.append((ours, min(peers, key=lambda item: item.median_ms)))
    return pairs


def geometric_means(results: list[Result]) -> dict[str, float]:
    """Of the ratios to the best peer over the rows at ``LARGE_SIDE`` and above, by runtime."""
    large = {
        row.title
        for row in ROWS
        if min(Resolution.parse(row.resolution).height, Resolution.parse(row.resolution).width) >= LARGE_SIDE
    }
    means = {}
    for name in RUNTIME_NAMES:
        ratios = [peer.ratio for ours, peer in best_peers(results) if ours.runtime == name and ours.row in large]
        if ratios:
            means[name] = float(gmean(ratios))
    return means


def table(results: list[Result], machine: str) -> str:
    """Markdown: every converter."""
    lines = [
        f"Measured on {machine}; one thread, fp32. Ratio: ours / this converter, 95 % interval over rounds; below 1 "
        "ours is faster.",
        "",
        "| network | runtime | converter | MB | conversion s | ops | partitions | undelegated | median ms | ours / "
        "this |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    for item in results:
        ratio = "" if item.converter == "ours" else item.cells
        lines.append(
            f"| {item.row} | {item.runtime} | {item.converter} | {item.megabytes} | {item.seconds} | {item.ops} | "
            f"{item.partitions} "
            f"| {item.undelegated} | {item.median_ms:.2f} | {ratio} |"
        )
    means = ", ".join(f"{mean:.3f} on {name}" for name, mean in geometric_means(results).items())
    return (
        "\n".join(lines)
        + f"\n\nGeometric mean of ours / the best peer over the rows at {LARGE_SIDE} and above: {means}.\n"
    )


def summary(results: list[Result], machine: str) -> str:
    """Markdown for the README: ours beside the best peer of each row, on the bundled runtime."""
    lines = [
        f"fp32, one thread, converters in turn in one process, on {machine}.",
        "Ratio: ours / the fastest other converter, with its 95 % interval; below 1 ours is faster.",
        "[All figures](benchmarks/results/peers.md).",
        "",
        "| network | ours: partitions, ops outside | ms | fastest other | partitions, ops outside | ratio |",
        "| --- | --- | ---: | --- | --- | --- |",
    ]
    for ours, peer in best_peers([item for item in results if item.runtime == RUNTIME_NAMES[0]]):
        lines.append(
            f"| {ours.row} | {ours.partitions}, {ours.undelegated} | {ours.median_ms:.1f} | {peer.converter} "
            f"| {peer.partitions}, {peer.undelegated} | {peer.cells} |"
        )
    return "\n".join(lines) + "\n"


def machine_name() -> str:
    """The processor with its instruction set, the day, and the runtimes."""
    info = open_device("", DeviceOptions()).describe()
    installed = {name: version for name in RUNTIME_NAMES if (version := RUNTIMES[name].version()) is not None}
    versions = ", ".join(f"{name}: {version}" for name, version in installed.items())
    return f"{info.soc} ({', '.join(info.instruction_sets)}), {time.strftime('%Y-%m-%d')}; {versions}"


@click.command()
@click.option(
    "--python",
    type=click.Path(path_type=Path),
    default=ROOT / "build/peers/venv/bin/python",
    help="litert-torch's interpreter.",
)
@click.option("--rounds", default=12, show_default=True)
@click.option("--only", multiple=True, help="Titles of rows.")
@click.option("--out", type=click.Path(path_type=Path), default=ROOT / "benchmarks/results/peers.md")
@click.option("--readme/--no-readme", default=False, help="Write the summary into the README, too.")
def main(python: Path, rounds: int, only: tuple[str, ...], out: Path, readme: bool) -> None:
    """Convert, measure, and write the table (.md) and its numbers (.json)."""
    folder = ROOT / "build/peers"
    folder.mkdir(parents=True, exist_ok=True)
    for name in RUNTIME_NAMES:
        RUNTIMES[name].install()
    machine = machine_name()
    results: list[Result] = []
    for row in ROWS:
        if only and row.title not in only:
            continue
        results.extend(results_of(row, folder, python, rounds))
        document = {
            "machine": machine,
            "geometric_means": geometric_means(results),
            "results": [asdict(item) for item in results],
        }
        write_results(out, table(results, machine), document)
    if readme:
        update_readme("peers", summary(results, machine))
    click.echo(table(results, machine))


if __name__ == "__main__":
    main()
