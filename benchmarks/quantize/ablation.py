"""What each choice of the int8 quantiser brings: SQNR of base-r224's logits. ``python -m benchmarks.quantize.ablation``

For each of five seeds of weights, calibrated (``benchmarks.quantize.calibrated``) and as a conversion settles them on
noise: every way of choosing ranges, with and without bias correction, the product less one of its choices, and two that
the product has not: ranges by percentiles, and cross-layer equalisation before it
(``benchmarks.quantize.equalisation``). 32 photographs to calibrate, 32 others to test (``benchmarks.photos``).
"""

from __future__ import annotations

import functools
from pathlib import Path
from unittest import mock

import click
import numpy as np

from benchmarks.accuracy.outputs import sqnr_db
from benchmarks.photos import crops
from benchmarks.quantize.calibrated import calibrated_weights
from benchmarks.quantize.compare import logits
from benchmarks.quantize.equalisation import equalised
from converters.lowering.lower import Lowering
from converters.quantize import RangeChoice, parameters, plan, quantise_int8, ranges
from converters.quantize.observe import Observation, observe
from converters.rewriting import rewrite
from converters.source.export import export_onnx
from converters.source.load import load_source
from evit_mobile.files import cache_folder
from evit_mobile.runtimes.session import Array
from evit_mobile.specs import Precision, Target
from evit_mobile.tflite.file import Tflite

MODEL, SIDE, PHOTOS = "base-r224", 224, 32
#: The choices of the product, which are the defaults of ``quantise_int8``.
PRODUCT = f"{RangeChoice.MSE}, bias correction"
PERCENTILES = (99.9, 99.99)
RESULT = Path(__file__).resolve().parent.parent / "results" / "int8_ablation.md"


def float_model(seed: int, weights: Path | None) -> bytes:
    """The float .tflite that an int8 conversion quantises."""
    with Lowering() as lowering:
        graph, _ = rewrite(export_onnx(load_source(MODEL, weights=weights, seed=seed)), "auto", Target(Precision.INT8))
        return lowering.lower(graph)


def variants(content: bytes) -> dict[str, bytes]:
    """The int8 models to compare, by name."""
    images = list(crops(SIDE, PHOTOS, held_out=False))
    observed = observe(Tflite(content), images)
    with mock.patch(
        "converters.quantize.observe", lambda *_: observed
    ):  # what the float model holds is the same for all
        variants = _from_observed(content)
    scaled, maps = equalised(content, images)
    variants[f"{PRODUCT}, {maps} maps equalised across layers"] = quantise_int8(Tflite(scaled), images).content
    return variants


def _from_observed(content: bytes) -> dict[str, bytes]:
    images: list[Array] = []
    variants = {}
    for choice in RangeChoice:
        for corrected in (False, True):
            name = f"{choice}{', bias correction' if corrected else ''}"
            variants[name] = quantise_int8(
                Tflite(content), images, range_choice=choice, bias_correction=corrected
            ).content
    with mock.patch.object(parameters, "FLAT_BELOW", {}):
        variants[f"{PRODUCT}, ranges of what hard-swish and ReLU cut off too"] = quantise_int8(
            Tflite(content), images
        ).content
    for share in PERCENTILES:
        with mock.patch.object(ranges, "_least_error", functools.partial(percentile, share=share)):
            variants[f"percentile {share}, bias correction"] = quantise_int8(Tflite(content), images).content
    with mock.patch.object(plan, "_islands", lambda graph, int8: {}):
        variants[f"{PRODUCT}, layers between float ops in int8"] = quantise_int8(Tflite(content), images).content
    with mock.patch.object(plan, "_before", lambda rows, graph: {}):
        variants[f"{PRODUCT}, the last map in int8"] = quantise_int8(Tflite(content), images).content
    with mock.patch.object(plan, "_single_rows", lambda graph: {}):
        variants[f"{PRODUCT}, the last map and linear layers in int8"] = quantise_int8(Tflite(content), images).content
    return variants


def percentile(observation: Observation, share: float) -> tuple[float, float]:
    """The interval that leaves out as many of the values at either end as ``share`` per cent leave."""
    below = np.cumsum(observation.counts) / observation.counts.sum()
    first, last = np.searchsorted(below, [1 - share / 100, share / 100])
    return float(observation.centres[first]), float(observation.centres[last])


def rows_of(calibrated: bool, seeds: int, folder: Path) -> list[str]:
    """A table in Markdown."""
    images = list(crops(SIDE, PHOTOS, held_out=True))
    table: dict[str, list[float]] = {}
    for seed in range(seeds):
        weights = calibrated_weights(MODEL, SIDE, seed, folder / "weights.safetensors") if calibrated else None
        content = float_model(seed, weights)
        (folder / "float.tflite").write_bytes(content)
        expected = logits(folder / "float.tflite", images)
        assert expected is not None
        for name, quantised in variants(content).items():
            (folder / "variant.tflite").write_bytes(quantised)
            logits_of_variant = logits(folder / "variant.tflite", images)
            table.setdefault(name, []).append(
                float("nan") if logits_of_variant is None else sqnr_db([expected], [logits_of_variant])
            )
            click.echo(f"seed {seed}: {name}: {table[name][-1]:.2f} dB", err=True)
    lines = [
        f"| ranges | {' | '.join(f'seed {seed}' for seed in range(seeds))} | mean |",
        f"| --- |{' ---: |' * (seeds + 1)}",
    ]
    for name, values in table.items():
        lines.append(f"| {name} | {' | '.join(f'{value:.1f}' for value in values)} | {np.mean(values):.1f} |")
    return lines


@click.command()
@click.option("--seeds", default=5)
@click.option("--out", type=click.Path(path_type=Path), default=RESULT)
def main(seeds: int, out: Path) -> None:
    """Measure, write the tables."""
    folder = cache_folder("quantize-benchmark")
    lines = [
        f"SQNR of {MODEL}'s logits in dB over {PHOTOS} photographs, one column a seed of the weights.",
        f"*{PRODUCT}* is what `convert` does.",
    ]
    lines += ["", "Calibrated weights:", "", *rows_of(True, seeds, folder)]
    lines += ["", "Weights settled on noise:", "", *rows_of(False, seeds, folder)]
    out.write_text("\n".join(lines) + "\n")
    click.echo(out.read_text())


if __name__ == "__main__":
    main()
