"""What int8 brings to timm's models, and what it keeps of them: ``python -m benchmarks.quantize.zoo``.

Seeded weights, calibrated (``benchmarks.quantize.calibrated``); 32 photographs to calibrate, 32 others to test
(``benchmarks.photos``). fp32 and int8 run in turn in one process, one thread; the ratio is the median of paired ratios
with its 95 % interval.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import click
import numpy as np

from benchmarks.accuracy.outputs import answers, sqnr_db
from benchmarks.peers.compare import machine_name, measure
from benchmarks.photos import crops
from benchmarks.quantize.calibrated import calibrated_weights
from benchmarks.quantize.compare import times_as_fast
from converters.options import ConvertOptions
from converters.pipeline import convert
from converters.source.load import load_source
from converters.tflite.survey import survey
from evit_mobile.results.stats import summarise
from evit_mobile.runtimes import RUNTIMES
from evit_mobile.specs import Precision

MODELS = (
    "timm:efficientvit_b1",
    "timm:mobilenetv3_large_100",
    "timm:mobilevit_xs",
    "timm:vit_small_patch16_224",
    "timm:resnet152",
)
PHOTOS, ROUNDS = 32, 8
RESULT = Path(__file__).resolve().parent.parent / "results" / "int8_zoo.md"


def row_of(model: str, folder: Path) -> str:
    """A line of the table."""
    source = load_source(model)
    assert source.resolution is not None
    side = source.resolution.height
    weights = calibrated_weights(model, side, 0, folder / "weights.safetensors")
    calibration = folder / "calibration.npz"
    np.savez(calibration, np.concatenate(list(crops(side, PHOTOS, held_out=False, preprocessing=source.preprocessing))))
    paths = {precision: folder / f"{precision}.tflite" for precision in (Precision.FP32, Precision.INT8)}
    for precision, path in paths.items():
        data = str(calibration) if precision is Precision.INT8 else None
        convert(model, path, ConvertOptions(weights=weights, precision=precision, calibration=data))
    images = list(crops(side, PHOTOS, held_out=True, preprocessing=source.preprocessing))
    expected, given = (answers(path, images) for path in paths.values())
    (place,) = survey(paths[Precision.INT8], [RUNTIMES["litert"]])
    same = (expected.argmax(1) == given.argmax(1)).mean()
    size = paths[Precision.INT8].stat().st_size / paths[Precision.FP32].stat().st_size
    outside = sum(place.undelegated.values())
    samples = measure({str(precision): path for precision, path in paths.items()}, "litert", ROUNDS)
    latency = {precision: summarise(samples[str(precision)]).median / 1000 for precision in paths}
    faster = times_as_fast(samples[str(Precision.FP32)], samples[str(Precision.INT8)])
    return (
        f"| {model} | {latency[Precision.FP32]:.1f} | {latency[Precision.INT8]:.1f} | {faster} | {size:.2f} "
        f"| {place.partitions} | {outside} | {sqnr_db([expected], [given]):.1f} | {same:.0%} |"
    )


@click.command()
@click.option("--out", type=click.Path(path_type=Path), default=RESULT)
def main(out: Path) -> None:
    """Convert, compare, write the table."""
    with tempfile.TemporaryDirectory() as folder:
        lines = [
            f"int8 beside fp32, one thread, litert, on {machine_name()};",
            f"logits over {PHOTOS} photographs, seeded weights, calibrated.",
            "",
            "| model | fp32, ms | int8, ms | times as fast | size | partitions | ops outside | SQNR, dB | same class |",
            f"| --- | ---: | ---: | --- |{' ---: |' * 5}",
            *(row_of(model, Path(folder)) for model in MODELS),
        ]
    out.write_text("\n".join(lines) + "\n")
    click.echo(out.read_text())


if __name__ == "__main__":
    main()
