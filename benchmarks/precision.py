"""base-r224 in every precision: size, latency, instructions, delegation, and what is left of its outputs. ``make
bench-precision``.

The files run in turn in one process, in an order drawn anew each round; a ratio is the median of paired ratios with its
95 % interval. No trained weights of base-r224 exist: beside its own seeded outputs on photographs stands the accuracy
of the small trained model.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import click

from android_bench.device import DeviceOptions, open_device
from benchmarks.accuracy.outputs import answers, sqnr_db
from benchmarks.arm64_budget import SETTINGS
from benchmarks.peers.compare import machine_name, measure
from benchmarks.photos import crops
from benchmarks.results_files import write_results
from converters.options import ConvertOptions
from converters.pipeline import convert
from converters.tflite.inspection import inspect_model
from evit_mobile.results.stats import paired_ratio, summarise
from evit_mobile.runtimes import RUNTIMES
from evit_mobile.specs import Precision

RESULTS = Path(__file__).resolve().parent / "results"
MODEL, SIDE = "base-r224", 224
PHOTOS = 32
#: fp16 arithmetic began between these two.
PROCESSORS = ("cortex-a72", "cortex-a76")


@dataclass(frozen=True)
class Row:
    """One precision. ``ratio`` is its latency over fp32's with its interval, ``instructions`` by processor, ``trained``
    the accuracy and the agreement with fp32 of the small trained model, where they are recorded.
    """

    precision: str
    megabytes: float
    median_ms: float
    ratio: float
    low: float | None
    high: float | None
    instructions: dict[str, int]
    sqnr_db: float | None
    same_class: float
    trained: tuple[float, float] | None
    partitions: int | None
    undelegated: int


def make_models(folder: Path, precisions: Iterable[Precision]) -> dict[str, Path]:
    """base-r224 with seeded weights in each precision, calibrated on photographs."""
    models = {}
    for precision in precisions:
        models[str(precision)] = folder / f"{precision}.tflite"
        calibrated = "benchmarks.photos:calibration_224" if precision is Precision.INT8 else None
        convert(MODEL, models[str(precision)], ConvertOptions(precision=precision, calibration=calibrated))
    return models


def count_instructions(models: dict[str, Path]) -> dict[str, dict[str, int]]:
    """Instructions an inference by processor, by precision."""
    counted: dict[str, dict[str, int]] = {}
    for processor in PROCESSORS:
        device = open_device(f"qemu:{processor}", DeviceOptions())
        with device.prepare(list(models.values()), SETTINGS) as prepared:
            for precision, path in models.items():
                counted.setdefault(precision, {})[processor] = int(prepared.run(path).values[-1])
    return counted


def trained_figures() -> dict[str, tuple[float, float]]:
    """(accuracy, agreement with fp32) of ``digits-pair`` on the host by precision, as ``benchmarks.accuracy.report``
    recorded them.
    """
    path = RESULTS / "accuracy.json"
    if not path.exists():
        return {}
    rows = [
        row for row in json.loads(path.read_text())["rows"] if row["ran_on"] == "host" and row["accuracy"] is not None
    ]
    return {row["precision"]: (row["accuracy"], row["agreement"]) for row in rows}


def rows_of(models: dict[str, Path], instructions: dict[str, dict[str, int]], rounds: int) -> list[Row]:
    """Every precision, measured side by side."""
    samples = measure(models, "litert", rounds)
    photos = list(crops(SIDE, PHOTOS, held_out=True))
    expected = answers(models["fp32"], photos)
    trained = trained_figures()
    rows = []
    for precision, path in models.items():
        logits = expected if precision == "fp32" else answers(path, photos)
        ratio, counted = (
            paired_ratio(samples[precision], samples["fp32"]),
            inspect_model(path, RUNTIMES["litert"], explain=False),
        )
        rows.append(
            Row(
                precision,
                path.stat().st_size / 1e6,
                summarise(samples[precision]).median / 1000,
                ratio.value,
                ratio.interval.low if ratio.interval else None,
                ratio.interval.high if ratio.interval else None,
                instructions.get(precision, {}),
                None if precision == "fp32" else sqnr_db([expected], [logits]),
                float((logits.argmax(1) == expected.argmax(1)).mean()),
                trained.get(precision),
                counted.partitions,
                len(counted.undelegated),
            )
        )
    return rows


def render(rows: list[Row], note: str) -> str:
    """Markdown."""
    lines = [
        f"{MODEL}, LiteRT, one thread, all files in turn in one process, on {note}. Ratio: to fp32,",
        "with its 95 % interval. Instructions: per inference on emulated processors; the A76 computes fp16 in half "
        "precision, the A72 and",
        "this machine in float32. No trained weights of this model exist: the SQNR of its logits and the share of "
        "top-1 classes that agree",
        f"with fp32 are those of seeded weights, on {PHOTOS} crops of photographs. The accuracy, and its agreement "
        "with fp32, are those",
        "of a small EfficientViT with the same blocks, trained on handwritten digits ([how](accuracy.md)).",
        "",
        "| precision | MB | ms | ratio | A72, M instr. | A76, M instr. | SQNR, dB | same class | accuracy, agreement "
        "| partitions |",
        "| --- | ---: | ---: | --- | ---: | ---: | ---: | ---: | --- | --- |",
    ]
    for row in rows:
        interval = "" if row.low is None or row.precision == "fp32" else f" [{row.low:.2f}, {row.high:.2f}]"
        counts = [f"{row.instructions[cpu] / 1e6:.1f}" if cpu in row.instructions else "" for cpu in PROCESSORS]
        cells = (
            row.precision, f"{row.megabytes:.1f}", f"{row.median_ms:.2f}", f"{row.ratio:.2f}{interval}", *counts,
            "" if row.sqnr_db is None else f"{row.sqnr_db:.1f}", f"{row.same_class:.0%}",
            "" if row.trained is None else f"{row.trained[0]:.2%}, {row.trained[1]:.2%}", _place(row),
        )  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _place(row: Row) -> str:
    """``1``, or ``1 + 2 ops outside``."""
    return f"{row.partitions}" + (f" + {row.undelegated} ops outside" if row.undelegated else "")


@click.command()
@click.option("--rounds", default=15, show_default=True)
@click.option("--emulated/--no-emulated", default=True, help="Count instructions on emulated processors.")
@click.option(
    "--models", type=click.Path(file_okay=False, path_type=Path), help="A folder that keeps the files from run to run."
)
@click.option("--out", type=click.Path(path_type=Path), default=RESULTS / "precision.md")
def main(rounds: int, emulated: bool, models: Path | None, out: Path) -> None:
    """Convert, count, time; write the table (.md) and its numbers (.json)."""
    with tempfile.TemporaryDirectory() as name:
        folder = models or Path(name)
        folder.mkdir(exist_ok=True)
        kept = {str(item): folder / f"{item}.tflite" for item in Precision}
        files = kept if all(path.exists() for path in kept.values()) else make_models(folder, Precision)
        rows = rows_of(files, count_instructions(files) if emulated else {}, rounds)
    machine = machine_name()
    text = render(rows, machine)
    write_results(out, text, {"machine": machine, "rows": [asdict(row) for row in rows]})
    click.echo(text)


if __name__ == "__main__":
    main()
