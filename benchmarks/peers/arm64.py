"""Ours, stock onnx2tf and litert-torch by instructions an inference on emulated Arm64 processors.

``python -m benchmarks.peers.arm64``: the same weights through three converters, run by the same LiteRT, counted alike;
see ``android_bench.emulator``. Counts are no latency, but they repeat to 0.1 %, and they are of the kernels that a
phone would run.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path

import click

from android_bench.device import DeviceOptions, open_device
from android_bench.emulator.device import RELEASES
from benchmarks.arm64_budget import SETTINGS
from benchmarks.peers.compare import CONVERTERS, ROOT, make
from benchmarks.peers.networks import ROWS, Row
from benchmarks.results_files import write_results

VENV_PYTHON = ROOT / "build/peers/venv/bin/python"
TITLES = ("base-r224", "base at 512")
#: Processor and runtime, the latter by its name on the host, see ``android_bench.emulator.device.RELEASES``.
PLACES = ("cortex-a76:litert", "cortex-a76:litert-latest", "cortex-a53:litert")


@dataclass
class Count:
    """One converter's model of a row on one processor and runtime; ``ratio`` is ours / this one: below 1 ours needs
    fewer.
    """

    row: str
    processor: str
    runtime: str
    converter: str
    instructions: int
    ratio: float


def counts_of(row: Row, models: dict[str, Path], processor: str, runtime: str) -> list[Count]:
    """Every converter's model of ``row``, by its last measured inference."""
    device = open_device(f"qemu:{processor}", DeviceOptions(runtime=runtime))
    with device.prepare(list(models.values()), SETTINGS) as prepared:
        counted = {converter: int(prepared.run(path).values[-1]) for converter, path in models.items()}
    return [
        Count(row.title, processor, runtime, converter, instructions, round(counted["ours"] / instructions, 4))
        for converter, instructions in counted.items()
    ]


def table(counts: list[Count], note: str) -> str:
    """Markdown."""
    lines = [
        f"Instructions per inference, fp32, one thread, on processors emulated by QEMU: not a latency. {note}.",
        "Ratio: ours / this converter; below 1 ours needs fewer.",
        "",
        "| network | processor | runtime | converter | instructions (M) | ours / this |",
        "| --- | --- | --- | --- | ---: | ---: |",
    ]
    for item in counts:
        ratio = "" if item.converter == "ours" else f"{item.ratio:.3f}"
        cells = (item.row, item.processor, item.runtime, item.converter, f"{item.instructions / 1e6:.2f}", ratio)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


@click.command()
@click.option("--python", type=click.Path(path_type=Path), default=VENV_PYTHON, help="litert-torch's interpreter.")
@click.option(
    "--folder", type=click.Path(path_type=Path), default=ROOT / "build/peers", help="Where the models are made."
)
@click.option("--out", type=click.Path(path_type=Path), default=ROOT / "benchmarks/results/arm64.md")
@click.option(
    "--on", "places", multiple=True, default=PLACES, show_default=True, metavar="CPU:RUNTIME", help="Where to count."
)
def main(python: Path, folder: Path, out: Path, places: tuple[str, ...]) -> None:
    """Convert, count, and write the table (.md) and its numbers (.json)."""
    folder.mkdir(parents=True, exist_ok=True)
    versions = ", ".join(f"{name}: {release}" for name, release in RELEASES.items())
    note = f"Made {time.strftime('%Y-%m-%d')}; LiteRT for Arm64, {versions}"
    counts: list[Count] = []
    for row in (row for row in ROWS if row.title in TITLES):
        models = {converter: make(row, converter, folder, python)[0] for converter in CONVERTERS}
        for processor, runtime in (place.split(":") for place in places):
            counts += counts_of(row, models, processor, runtime)
            document = {"note": note, "counts": [asdict(item) for item in counts]}
            write_results(out, table(counts, note), document)


if __name__ == "__main__":
    main()
