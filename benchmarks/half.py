"""fp16 where it is computed: ``python -m benchmarks.half`` counts base-r224's instructions on emulated processors, and
compares outputs.

A Cortex-A72 has no half-precision arithmetic and runs the fp16 file in float32; a Cortex-A76 (Armv8.2) computes it in
half precision.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import numpy as np

from android_bench.emulator.device import open_qemu
from android_bench.emulator.runtime import EmulatedRuntime
from benchmarks.results_files import write_results
from converters.options import ConvertOptions
from converters.parity.differences import CRITERIA, Difference, compare
from converters.parity.stimuli import ImageStimulus, verification_stimuli
from converters.pipeline import convert_cached
from evit_mobile.runtimes import RUNTIMES
from evit_mobile.specs import Precision, Preprocessing, Resolution

RESULTS = Path(__file__).resolve().parent / "results"
MODEL = "base-r224"
PROCESSORS = ("cortex-a72", "cortex-a76")


@dataclass(frozen=True)
class Count:
    """Instructions an inference."""

    processor: str
    precision: str
    instructions: int


def counts(models: dict[str, Path]) -> list[Count]:
    """Every precision on every processor, by the last of two inferences that agree."""
    rows = []
    for processor in PROCESSORS:
        qemu = open_qemu(processor)
        rows += [Count(processor, precision, qemu.count(path, 2)[-1]) for precision, path in models.items()]
    return rows


def differences(models: dict[str, Path], resolution: Resolution) -> dict[str, Difference]:
    """Outputs of the fp16 file in half precision beside the fp32 file's on this machine, by input; noise times 100
    among them.
    """
    stimuli = verification_stimuli(resolution, 3, Preprocessing())
    stimuli.append(ImageStimulus("noise_x100", stimuli[0].image * 100))
    emulated = EmulatedRuntime(open_qemu(PROCESSORS[-1]))
    with RUNTIMES["litert"].open(models["fp32"]) as host, emulated.open(models["fp16"]) as session:
        return {item.name: compare(host.run([item.image])[0], session.run([item.image])[0]) for item in stimuli}


def render(found: list[Count], apart: dict[str, Difference], sizes: dict[str, float]) -> str:
    """Markdown."""
    lines = [
        f"{MODEL} in fp16, made {time.strftime('%Y-%m-%d')}, LiteRT 2.1.2 on emulated processors: not a latency.",
        f"fp32 {sizes['fp32']:.1f} MB, fp16 {sizes['fp16']:.1f} MB.",
        "",
        "| processor | precision | instructions (M) |",
        "| --- | --- | ---: |",
        *(f"| {item.processor} | {item.precision} | {item.instructions / 1e6:.1f} |" for item in found),
        "",
        f"The fp16 file in half precision ({PROCESSORS[-1]}) beside the fp32 file on the host; `verify` allows "
        f"{CRITERIA[Precision.FP16].bound:g}.",
        "",
        "| input | relative error | SQNR (dB) | finite |",
        "| --- | ---: | ---: | --- |",
    ]
    for name, item in apart.items():
        error, sqnr = (np.nan if value is None else value for value in (item.relative_error, item.sqnr_db))
        lines.append(f"| {name} | {error:.1e} | {sqnr:.1f} | {'yes' if item.failure is None else item.failure} |")
    return "\n".join(lines) + "\n"


@click.command()
@click.option("--out", type=click.Path(path_type=Path), default=RESULTS / "half.md")
def main(out: Path) -> None:
    """Convert, count, compare; write the table (.md) and its numbers (.json)."""
    models = {
        str(item): convert_cached(MODEL, ConvertOptions(precision=item)) for item in (Precision.FP32, Precision.FP16)
    }
    rows, apart = counts(models), differences(models, Resolution(224, 224))
    text = render(rows, apart, {name: path.stat().st_size / 1e6 for name, path in models.items()})
    document = {
        "counts": [asdict(item) for item in rows],
        "differences": {name: asdict(item) for name, item in apart.items()},
    }
    write_results(out, text, document)
    click.echo(text)


if __name__ == "__main__":
    main()
