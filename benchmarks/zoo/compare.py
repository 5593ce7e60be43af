"""Every architecture family of timm through ours, stock onnx2tf and litert-torch. ``make bench-zoo`` runs it.

Each conversion and each judgement is a process with a time limit, so a crash or a hang costs one cell. What was
measured is written after every family, and a run goes on where the last one stopped. Files stay in ``build/zoo``, so
that ``--converter ours --anew`` makes ours again and times it beside what the others made before. Latencies are medians
of paired rounds, one thread, all files of a family loaded together: trust the ratios.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

import click

from benchmarks.peers.compare import CONVERTERS, ROOT, machine_name, measure
from benchmarks.results_files import write_results
from benchmarks.zoo.families import FAMILIES, LEFT_OUT
from benchmarks.zoo.row import Judged
from evit_mobile.results.stats import paired_ratio

RESULTS = ROOT / "benchmarks/results/zoo.md"
#: Seconds that a conversion or a judgement may take.
LIMIT_S = 1500
#: Rounds of the latency comparison: enough to tell a tenth, not a hundredth.
ROUNDS = 6


@dataclass
class Cell:
    """One converter's file of one model. ``problem`` is why there is none, or why it was not judged."""

    seconds: float = 0.0
    megabytes: float | None = None
    judged: Judged | None = None
    problem: str | None = None
    #: Ours / this one, with its 95 % interval.
    ratio: tuple[float, float, float] | None = None

    @property
    def right(self) -> bool:
        return self.judged is not None and self.judged.agrees


@dataclass
class Family:
    """timm's module, the member that stands for it, and what came of it, by converter."""

    family: str
    model: str
    cells: dict[str, Cell] = field(default_factory=dict)
    #: What its ratios were measured on.
    machine: str | None = None


def compare(row: Family, converters: tuple[str, ...], folder: Path, python: Path) -> None:
    """Fill the cells of ``converters``, and time ours beside every right file of the others."""
    files = {converter: folder / f"{row.model}-{converter}.tflite" for converter in CONVERTERS}
    for converter in converters:
        row.cells[converter] = _cell(converter, f"timm:{row.model}", files[converter], python)
    right = {
        name: path for name, path in files.items() if name in row.cells and row.cells[name].right and path.exists()
    }
    if "ours" in right and len(right) > 1:
        samples = measure(right, "litert", ROUNDS)
        row.machine = machine_name()
        for converter in right.keys() - {"ours"}:
            ratio = paired_ratio(samples["ours"], samples[converter])
            if ratio.interval is not None:
                row.cells[converter].ratio = (ratio.value, ratio.interval.low, ratio.interval.high)


def _cell(converter: str, model: str, path: Path, python: Path) -> Cell:
    if converter == "litert-torch":
        size = _run([sys.executable, "-m", "benchmarks.zoo.row", "side", model])
        if isinstance(size, Failure):
            return Cell(problem=size.text)
        command = [str(python), "-m", "benchmarks.peers.convert_litert_torch", model, size.strip(), str(path)]
    else:
        command = [sys.executable, "-m", "benchmarks.zoo.row", "make", converter, model, str(path)]
    start = time.perf_counter()
    conversion = _run(command)
    seconds = round(time.perf_counter() - start, 1)
    if isinstance(conversion, Failure):
        return Cell(seconds, problem=f"conversion: {conversion.text}")
    megabytes = round(path.stat().st_size / 1e6, 1)
    judged = _run([sys.executable, "-m", "benchmarks.zoo.row", "judge", model, str(path)])
    if isinstance(judged, Failure):
        return Cell(seconds, megabytes, problem=f"inference: {judged.text}")
    return Cell(seconds, megabytes, Judged(**json.loads(judged.splitlines()[-1])))


@dataclass(frozen=True)
class Failure:
    """Why a process did not end well, in one line."""

    text: str


def _run(command: list[str]) -> str | Failure:
    """What the command printed on stdout."""
    try:
        done = subprocess.run(
            command,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
    except subprocess.TimeoutExpired:
        return Failure(f"no end after {LIMIT_S} s")
    if done.returncode == 0:
        return done.stdout
    if done.returncode < 0:
        return Failure(f"killed by signal {-done.returncode}")
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    # Paths of this machine tell a reader nothing.
    words = re.sub(r"/\S*/", "", lines[-1]) if lines else f"exit code {done.returncode}"
    return Failure(words[:200])


def table(rows: list[Family]) -> str:
    """Markdown: the counts, then every family."""
    machines = "; ".join(sorted({row.machine for row in rows if row.machine}))
    lines = [
        "fp32, seeded weights. A file is right where it agrees with PyTorch in float64 on noise and on a photograph, "
        "with and without",
        f"XNNPACK (`benchmarks/zoo/row.py`). A conversion or a judgement may take {LIMIT_S} s. Ratio: ours / this "
        "converter, one thread, with its 95 %",
        f"interval; below 1 ours is faster. Ratios were measured on {machines}; no ratio: the two files were not "
        "made in one run.",
        "",
        "| of these families | " + " | ".join(CONVERTERS) + " |",
        "| --- |" + " ---: |" * len(CONVERTERS),
    ]
    for title, counts in _counts(rows).items():
        lines.append(f"| {title} | " + " | ".join(map(str, counts)) + " |")
    lines += [
        "",
        "| family | model | "
        + " | ".join(f"{name}: error; partitions, ops outside; MB; ratio" for name in CONVERTERS)
        + " |",
        "| --- | --- |" + " --- |" * len(CONVERTERS),
    ]
    for row in rows:
        cells = [_text(row.cells[name]) if name in row.cells else "not tried" for name in CONVERTERS]
        lines.append(f"| {row.family} | {row.model} | " + " | ".join(cells) + " |")
    left_out = "; ".join(f"{family}: {reason}" for family, reason in LEFT_OUT.items())
    return "\n".join(lines) + f"\n\nLeft out: {left_out}.\n"


def _counts(rows: list[Family]) -> dict[str, list[int]]:
    cells = {name: [row.cells[name] for row in rows if name in row.cells] for name in CONVERTERS}
    return {
        "tried": [len(cells[name]) for name in CONVERTERS],
        "converted": [sum(cell.megabytes is not None for cell in cells[name]) for name in CONVERTERS],
        "right": [sum(cell.right for cell in cells[name]) for name in CONVERTERS],
        "wrong, or does not run": [
            sum(cell.megabytes is not None and not cell.right for cell in cells[name]) for name in CONVERTERS
        ],
        "right, in one partition, nothing outside": [
            sum(cell.right and _is_whole(cell) for cell in cells[name]) for name in CONVERTERS
        ],
    }


def _is_whole(cell: Cell) -> bool:
    return cell.judged is not None and (cell.judged.partitions, cell.judged.undelegated) == (1, 0)


def _text(cell: Cell) -> str:
    if cell.judged is None:
        return (cell.problem or "").replace("|", "\\|")
    judged = cell.judged
    ratio = f"; {cell.ratio[0]:.2f} ({cell.ratio[1]:.2f}–{cell.ratio[2]:.2f})" if cell.ratio else ""
    verdict = "" if judged.agrees else "**wrong** "
    return f"{verdict}{judged.error:.1e}; {judged.partitions}, {judged.undelegated}; {cell.megabytes}{ratio}"


def _known(path: Path) -> list[Family]:
    """The rows of an earlier run."""
    if not path.exists():
        return []
    rows = []
    for item in json.loads(path.read_text())["families"]:
        cells = {
            name: Cell(**{**cell, "judged": Judged(**cell["judged"]) if cell["judged"] else None})
            for name, cell in item["cells"].items()
        }
        rows.append(Family(item["family"], item["model"], cells, item.get("machine")))
    return rows


@click.command()
@click.option(
    "--python",
    type=click.Path(path_type=Path),
    default=ROOT / "build/peers/venv/bin/python",
    help="litert-torch's interpreter.",
)
@click.option("--only", multiple=True, help="Families, by timm's module.")
@click.option("--converter", "converters", multiple=True, type=click.Choice(CONVERTERS), default=CONVERTERS)
@click.option("--anew", is_flag=True, help="Make and measure what is known, too.")
def main(python: Path, only: tuple[str, ...], converters: tuple[str, ...], anew: bool) -> None:
    """Convert, judge and measure, and write the table (.md) and its numbers (.json)."""
    folder = ROOT / "build/zoo"
    folder.mkdir(parents=True, exist_ok=True)
    rows = {row.family: row for row in _known(RESULTS.with_suffix(".json"))}
    for family in only or FAMILIES:
        row = rows.setdefault(family, Family(family, FAMILIES[family]))
        missing = tuple(name for name in converters if anew or name not in row.cells)
        if not missing:
            continue
        compare(row, missing, folder, python)
        ordered = [rows[name] for name in FAMILIES if name in rows]
        write_results(RESULTS, table(ordered), {"families": [asdict(item) for item in ordered]})
        click.echo(f"{family}: " + "; ".join(f"{name} {_text(cell)}" for name, cell in row.cells.items()))


if __name__ == "__main__":
    main()
