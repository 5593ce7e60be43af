"""What would make base-r224's int8 faster on Arm, tried one by one: ``python -m benchmarks.quantize.arm``.

Each variant of ``arm_variants`` by its estimated cycles on a core with 8-bit dot products (nothing is measured: see
docs/explanation/estimate.md), and the SQNR of its logits over 32 photographs, for calibrated seeds of the weights. All
have the product's ranges.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from unittest import mock

import click

from android_bench.device import DeviceOptions, open_device
from android_bench.estimate.device import PreparedEstimate
from benchmarks.accuracy.outputs import sqnr_db
from benchmarks.attention.estimate_forms import SETTINGS
from benchmarks.photos import crops
from benchmarks.quantize.ablation import MODEL, PHOTOS, SIDE, float_model
from benchmarks.quantize.arm_variants import VARIANTS, pairs_without_rounding
from benchmarks.quantize.calibrated import calibrated_weights
from benchmarks.quantize.compare import logits
from benchmarks.results_files import out_option, write_results
from converters.quantize.observe import observe
from evit_mobile.files import cache_folder
from evit_mobile.tflite.file import Tflite

RESULT = Path(__file__).resolve().parent.parent / "results" / "int8_arm.md"
#: Types of op that a row shows, as the delegate calls them, under the names of the table.
KINDS = {
    "matrix products": "GEMM",
    "depthwise": "DWConv",
    "tables of hard-swish": "Invalid Unary Op",
    "conversions": "Convert",
    "sums and products of elements": "(ND)",
}


@dataclass(frozen=True)
class Row:
    """A variant: cycles an inference, in all and by kind of op, and SQNR by seed; None where it was not run."""

    variant: str
    cycles: int
    by_kind: dict[str, int]
    sqnr_db: list[float | None]


def estimated(content: bytes, device: str, folder: Path) -> tuple[int, dict[str, int]]:
    """Cycles of a file, and of its kinds of op."""
    path = folder / "variant.tflite"
    path.write_bytes(content)
    opened = open_device(f"estimate:{device}", DeviceOptions())
    with opened.prepare([path], SETTINGS) as prepared:
        assert isinstance(prepared, PreparedEstimate)
        estimate, ops = prepared.run(path).estimate, prepared.op_estimates(path)
    assert estimate is not None
    kinds: Counter[str] = Counter()
    for op in ops:
        kinds[next((kind for kind, mark in KINDS.items() if mark in op.op), "others")] += op.cycles
    return estimate.cycles, dict(kinds)


def rows_of(device: str, seeds: int, folder: Path) -> tuple[list[Row], int]:
    """Every variant, and how many pairs of layers there are whose result between them needs no rounding."""
    held_out = list(crops(SIDE, PHOTOS, held_out=True))
    costs: dict[str, tuple[int, dict[str, int]]] = {}
    kept: dict[str, list[float | None]] = {name: [] for name in VARIANTS}
    pairs = 0
    for seed in range(seeds):
        weights = calibrated_weights(MODEL, SIDE, seed, folder / "weights.safetensors")
        model = Tflite(float_model(seed, weights))
        pairs = pairs_without_rounding(model.graph)
        observed = observe(model, list(crops(SIDE, PHOTOS, held_out=False)))
        (folder / "float.tflite").write_bytes(model.content)
        expected = logits(folder / "float.tflite", held_out)
        assert expected is not None
        for name, variant in VARIANTS.items():
            with mock.patch("converters.quantize.observe", lambda *_: observed):
                content = variant(model)
            (folder / "variant.tflite").write_bytes(content)
            found = logits(folder / "variant.tflite", held_out)
            kept[name].append(None if found is None else sqnr_db([expected], [found]))
            if seed == 0:
                costs[name] = estimated(content, device, folder)
                click.echo(f"{name}: {costs[name][0] / 1e6:.1f} M cycles, {kept[name][0]:.1f} dB", err=True)
    return [Row(name, *costs[name], kept[name]) for name in VARIANTS], pairs


def render(rows: list[Row], device: str, pairs: int) -> str:
    """Markdown."""
    seeds = len(rows[0].sqnr_db)
    kinds = [*KINDS, "others"]
    lines = [
        f"{MODEL} in int8 on `--device estimate:{device}`, one thread: million cycles, estimated, not measured.",
        f"SQNR of its logits in dB over {PHOTOS} photographs, with {seeds} calibrated seed(s) of the weights.",
        "",
        f"| variant | cycles | beside the first | {' | '.join(kinds)} | SQNR, dB |",
        f"| --- |{' ---: |' * (len(kinds) + 3)}",
    ]
    for row in rows:
        parts = " | ".join(f"{row.by_kind.get(kind, 0) / 1e6:.1f}" for kind in kinds)
        noise = ", ".join("–" if value is None else f"{value:.1f}" for value in row.sqnr_db)
        change = row.cycles / rows[0].cycles - 1
        lines.append(f"| {row.variant} | {row.cycles / 1e6:.1f} | {change:+.1%} | {parts} | {noise} |")
    lines += ["", f"Pairs of layers with nothing between them, whose result would need no rounding: {pairs}."]
    return "\n".join(lines) + "\n"


@click.command()
@click.option("--device", default="snapdragon-855", show_default=True)
@click.option("--seeds", default=5, show_default=True)
@out_option(RESULT)
def main(device: str, seeds: int, out: Path) -> None:
    """Try each variant, write the table (.md) and its numbers (.json)."""
    folder = cache_folder("quantize-benchmark")
    folder.mkdir(parents=True, exist_ok=True)
    rows, pairs = rows_of(device, seeds, folder)
    text = render(rows, device, pairs)
    write_results(out, text, {"device": device, "pairs": pairs, "rows": [asdict(row) for row in rows]})
    click.echo(text)


if __name__ == "__main__":
    main()
