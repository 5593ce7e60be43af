"""Writes what each precision keeps of trained models: ``python -m benchmarks.accuracy.report``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from statistics import median

import click

from benchmarks.accuracy.precisions import DATA, DRAWINGS, LAYER_CANVASES, ROOT, Proof, Row, by_block, prove
from benchmarks.results_files import write_results

WEIGHTS = DATA / "digits-pair.safetensors"


def render(proof: Proof) -> str:
    """Markdown."""
    fp32 = next(row for row in proof.rows if row.precision == "fp32")
    assert fp32.accuracy is not None
    lines = [
        f"# What each precision keeps\n\n{proof.note}.\n",
        "`digits-pair` (benchmarks/accuracy/digits.py): an EfficientViT of 0.2 M parameters, trained to name the "
        "value that",
        f"appears twice among four handwritten digits on a canvas. {fp32.canvases:,} test canvases hold digits that "
        "training never saw.",
        f"With the output of every attention layer set to zero it classifies {proof.without_attention:.2%} correctly, "
        f"{100 * (fp32.accuracy - proof.without_attention):.1f} points less.\n",
        "| precision | ran on | canvases | accuracy | agrees with fp32 | SQNR of logits (dB) | kB | partitions | ops "
        "outside | extremes |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |",
        *map(_row, proof.rows),
        "\nExtremes: zeros, all 0, all 255, one hot pixel, noise times 100; finite: no NaN or infinity in any output. "
        "*stock int8* is",
        "ai-edge-quantizer's static int8 recipe on the stock graph (onnx2tf's own full-integer quantiser refuses the "
        "network's square",
        "roots). The host computes fp16 files in float32; the emulated Cortex-A76 computes them in half precision.\n",
        "## Detection and segmentation\n",
        f"Mean intersection over union on {DRAWINGS} held-out drawings.\n",
        *_overlaps(proof.overlaps),
        "\n## SQNR by block\n",
        f"In dB against fp32, by TFLite's own kernels on {LAYER_CANVASES} canvases: "
        "the median layer of each block and, after the slash, the worst.",
        "Of a layer before hard-swish int8 leaves out what hard-swish makes zero; such values count as errors here. "
        "Layers that a precision computes in another form have no counterpart and are left out; all layers are in the "
        "JSON file.\n",
        *_blocks(proof.layers),
    ]
    return "\n".join(lines) + "\n"


def _row(row: Row) -> str:
    def share(value: float | None) -> str:
        return "" if value is None else f"{value:.2%}"

    def number(value: float | None, digits: int = 0) -> str:
        return "" if value is None or value == float("inf") else f"{value:.{digits}f}"

    finite = {True: "finite", False: "**not finite**", None: ""}[row.extremes_finite]
    cells = (
        row.precision,
        row.ran_on,
        f"{row.canvases:,}",
        share(row.accuracy),
        share(row.agreement),
        number(row.logits_sqnr_db, 1),
        number(row.kilobytes),
        number(row.partitions),
        number(row.undelegated),
        row.error or finite,
    )
    return f"| {' | '.join(cells)} |"


def _overlaps(found: dict[str, dict[str, float]]) -> list[str]:
    precisions = list(next(iter(found.values())))
    lines = [f"| model | {' | '.join(precisions)} |", f"| --- | {' | '.join('---:' for _ in precisions)} |"]
    return lines + [
        f"| {name} | {' | '.join(f'{values[item]:.4f}' for item in precisions)} |" for name, values in found.items()
    ]


def _blocks(layers: dict[str, dict[str, float]]) -> list[str]:
    tables = {precision: by_block(values) for precision, values in layers.items()}
    names = sorted({block for table in tables.values() for block in table}, key=_order)
    lines = [f"| block | {' | '.join(tables)} |", f"| --- | {' | '.join('---:' for _ in tables)} |"]
    for name in names:
        cells = (_two(table.get(name)) for table in tables.values())
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def _order(block: str) -> tuple[int, str]:
    """From input to output."""
    return ({"stem": 0, "head": 2, "other": 3}.get(block, 1), block)


def _two(values: list[float] | None) -> str:
    return "" if not values else f"{median(values):.1f} / {min(values):.1f}"


@click.command()
@click.option("--weights", type=click.Path(exists=True, path_type=Path), default=WEIGHTS)
@click.option(
    "--python",
    type=click.Path(path_type=Path),
    default=ROOT / "build/peers/venv/bin/python",
    help="Has ai-edge-quantizer.",
)
@click.option("--emulated", default=200, show_default=True, help="Canvases on the emulated processor; 0: leave it out.")
@click.option("--out", type=click.Path(path_type=Path), default=ROOT / "benchmarks/results/accuracy.md")
def main(weights: Path, python: Path, emulated: int, out: Path) -> None:
    """Convert, answer, compare; write the table (.md) and its numbers (.json)."""
    if not python.exists():
        click.echo(
            f"there is no {python}: the stock quantiser is left out (benchmarks/peers/requirements.txt)", err=True
        )
    proof = prove(weights, python if python.exists() else None, emulated)
    text = render(proof)
    write_results(out, text, asdict(proof))
    click.echo(text)


if __name__ == "__main__":
    main()
