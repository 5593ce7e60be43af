"""What int8 keeps of timm's models: ``python -m benchmarks.quantize.zoo``.

Seeded weights, calibrated (``benchmarks.quantize.calibrated``); 32 photographs to calibrate, 32 others to test (``benchmarks.photos``).
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import click
import numpy as np

from benchmarks.accuracy.outputs import answers, sqnr_db
from benchmarks.photos import crops
from benchmarks.quantize.calibrated import calibrated_weights
from converters.pipeline import ConvertOptions, convert
from converters.source import load_source
from converters.survey import survey
from evit_mobile.runtimes import RUNTIMES
from evit_mobile.specs import Precision

MODELS = ("timm:efficientvit_b1", "timm:mobilenetv3_large_100", "timm:mobilevit_xs", "timm:vit_small_patch16_224", "timm:resnet152")
PHOTOS = 32
RESULT = Path(__file__).resolve().parent.parent / "results" / "int8_zoo.md"


def row_of(model: str, folder: Path) -> str:
    """A line of the table."""
    source = load_source(model)
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
    return f"| {model} | {sqnr_db([expected], [given]):.1f} | {same:.0%} | {size:.2f} | {place.partitions} | {outside} |"


@click.command()
@click.option("--out", type=click.Path(path_type=Path), default=RESULT)
def main(out: Path) -> None:
    """Convert, compare, write the table."""
    with tempfile.TemporaryDirectory() as folder:
        lines = [f"int8 beside fp32: logits over {PHOTOS} photographs, seeded weights, calibrated.", "",
                 "| model | SQNR, dB | same class | size | partitions | ops outside |", "| --- | ---: | ---: | ---: | ---: | ---: |",
                 *(row_of(model, Path(folder)) for model in MODELS)]  # fmt: skip
    out.write_text("\n".join(lines) + "\n")
    click.echo(out.read_text())


if __name__ == "__main__":
    main()
