"""int8 side by side: ours, float, stock full int8, other ways of executing a plan. ``python -m
benchmarks.quantize.compare``

For each resolution all models are open at once in one process, one thread, and run in turn
(``benchmarks.peers.compare.measure``); a ratio is the median over rounds of paired ratios with its 95 % interval. SQNR
is of the logits against the float model over photographs that calibration did not see (``benchmarks.photos``).
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks.accuracy.outputs import answers, sqnr_db
from benchmarks.peers.compare import machine_name, measure
from benchmarks.photos import crops
from converters.options import ConvertOptions
from converters.pipeline import convert, convert_cached
from converters.tflite.inspection import inspect_model
from evit_mobile.errors import EvitMobileError
from evit_mobile.files import cache_folder
from evit_mobile.results.stats import paired_ratio, summarise
from evit_mobile.runtimes import RUNTIMES
from evit_mobile.runtimes.session import Array
from evit_mobile.specs import Precision, Resolution

ROOT = Path(__file__).resolve().parent.parent.parent
MODEL = "base-r224"
CALIBRATION_PHOTOS, TEST_PHOTOS = 32, 32


@dataclass(frozen=True)
class Row:
    """A model beside the float one; ``speed`` is how many times as fast, None where it does not run."""

    name: str
    megabytes: float
    partitions: int | None
    undelegated: int
    sqnr_db: float | None
    median_ms: float | None
    speed: str


def make(
    resolution: int, folder: Path, quantizer: Path | None, torch_file: Path | None, tensorflow_file: Path | None
) -> dict[str, Path]:
    """Every model at ``resolution`` by name."""
    side = Resolution(resolution, resolution)
    calibration = folder / f"calibration-{resolution}.npz"
    np.savez(calibration, inputs=np.concatenate(list(crops(resolution, CALIBRATION_PHOTOS, held_out=False))))
    models = {"fp32, ours": convert_cached(MODEL, ConvertOptions(resolution=side))}
    models["fp32, onnx2tf"] = convert_cached(MODEL, ConvertOptions(resolution=side, rewrite=False, check=False))
    if torch_file is not None:
        models["fp32, litert-torch"] = torch_file
    options = ConvertOptions(resolution=side, precision=Precision.INT8, calibration=str(calibration))
    models["int8, ours"] = folder / f"ours-{resolution}.tflite"
    convert(MODEL, models["int8, ours"], options)
    models["dynamic, ours"] = convert_cached(MODEL, ConvertOptions(resolution=side, precision=Precision.DYNAMIC))
    if tensorflow_file is not None:
        models["full int8, TensorFlow"] = tensorflow_file
    if quantizer is None:
        return models
    sources = {"full int8, ai-edge-quantizer on ours": ("full", models["fp32, ours"]),
               "full int8, ai-edge-quantizer on litert-torch": ("full", torch_file),
               "selective int8, ai-edge-quantizer on ours": ("selective", models["fp32, ours"])}  # fmt: skip
    for number, (name, (mode, source)) in enumerate(sources.items()):
        if source is None:
            continue
        out = folder / f"ai-edge-{number}-{resolution}.tflite"
        script = Path(__file__).with_name("ai_edge.py")
        if not out.exists():
            subprocess.run([quantizer, script, mode, source, out, calibration], check=True, capture_output=True)
        models[name] = out
    return models


def logits(path: Path, images: list[Array]) -> Array | None:
    """``answers``, None where the model cannot be run."""
    try:
        return answers(path, images)
    except (RuntimeError, ValueError, EvitMobileError):
        return None


def times_as_fast(reference: list[list[float]], samples: list[list[float]]) -> str:
    """How many times as fast ``samples`` are as ``reference``, with the interval; both are of ``measure``."""
    ratio = paired_ratio(reference, samples)
    return f"{ratio.value:.2f}" + (f" ({ratio.interval.low:.2f}–{ratio.interval.high:.2f})" if ratio.interval else "")


def rows_of(models: dict[str, Path], resolution: int, runtime: str, rounds: int) -> list[Row]:
    """All models beside the fastest float one."""
    images = list(crops(resolution, TEST_PHOTOS, held_out=True))
    results = {name: logits(path, images) for name, path in models.items()}
    expected = results["fp32, ours"]
    assert expected is not None
    running = {name: path for name, path in models.items() if results[name] is not None}
    samples = measure(running, runtime, rounds)
    floats = [name for name in running if name.startswith("fp32")]
    fastest = min(floats, key=lambda name: summarise(samples[name]).median)
    rows = []
    for name, path in models.items():
        result = results[name]
        if result is None:
            rows.append(Row(name, path.stat().st_size / 1e6, 0, 0, None, None, "fails at its first inference"))
            continue
        counted = inspect_model(path, RUNTIMES[runtime], explain=False)
        quality = sqnr_db([expected], [result])
        rows.append(
            Row(
                name,
                path.stat().st_size / 1e6,
                counted.partitions,
                len(counted.undelegated),
                quality if np.isfinite(quality) else None,
                summarise(samples[name]).median / 1000,
                times_as_fast(samples[fastest], samples[name]),
            )
        )
    return rows


def table(rows: list[Row]) -> str:
    """Markdown."""
    lines = [
        "| model | MB | partitions | undelegated | SQNR dB | median ms | times as fast as the fastest fp32 |",
        "| --- | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    for row in rows:
        noise = "" if row.sqnr_db is None or row.name == "fp32, ours" else f"{row.sqnr_db:.1f}"
        parts = f"{row.partitions} | {row.undelegated}" if row.median_ms is not None else "– | –"
        time_ms = "–" if row.median_ms is None else f"{row.median_ms:.2f}"
        lines.append(f"| {row.name} | {row.megabytes:.1f} | {parts} | {noise} | {time_ms} | {row.speed} |")
    return "\n".join(lines) + "\n"


@click.command()
@click.option("--quantizer", type=click.Path(path_type=Path), help="Python of an environment with ai-edge-quantizer.")
@click.option(
    "--litert-torch",
    "torch_files",
    type=(int, click.Path(path_type=Path)),
    multiple=True,
    help="Resolution and its .tflite.",
)
@click.option(
    "--tensorflow",
    "tensorflow_files",
    type=(int, click.Path(path_type=Path)),
    multiple=True,
    help="Resolution and what tensorflow_int8.py made.",
)
@click.option("--resolution", "resolutions", type=int, multiple=True, default=(224, 512))
@click.option("--runtime", default="litert")
@click.option("--rounds", default=12)
@click.option("--prepare", is_flag=True, help="Only make the models.")
@click.option("--out", type=click.Path(path_type=Path), default=ROOT / "benchmarks/results/int8.md")
def main(resolutions: tuple[int, ...], runtime: str, rounds: int, prepare: bool, out: Path, **peers: Any) -> None:
    """Convert, measure, write the table."""
    folder = cache_folder("quantize-benchmark")
    files = [dict(peers[name]) for name in ("torch_files", "tensorflow_files")]
    models = {
        side: make(side, folder, peers["quantizer"], *(paths.get(side) for paths in files)) for side in resolutions
    }
    if prepare:
        return
    text = [f"{MODEL}, {runtime}, one thread, on {machine_name()}."]
    for side, made in models.items():
        text += ["", f"At {side}:", "", table(rows_of(made, side, runtime, rounds))]
    out.write_text("\n".join(text))
    click.echo(out.read_text())


if __name__ == "__main__":
    main()
