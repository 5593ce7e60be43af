"""The forms of ``compare_forms`` by instructions an inference on emulated Arm64 processors.

    python -m benchmarks.attention.count_forms [--processor cortex-a76 --processor cortex-a53] [--out
    benchmarks/results]

The same layers, counted as ``android_bench.emulator`` counts: no latency, but the kernels that a phone would run. A
ratio is to the two projections alone. Writes ``attention_forms_arm64.json`` and ``attention_forms_arm64.md``.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import click

from android_bench.device import DeviceOptions, open_device
from benchmarks.arm64_budget import SETTINGS
from benchmarks.attention.compare_forms import FLOOR, SIZES, SOFTMAX, Size, build_models
from benchmarks.results_files import write_results


@dataclass(frozen=True)
class Count:
    """One form of a layer of so many channels and tokens; ``ratio`` is to the two projections alone."""

    processor: str
    channels: int
    tokens: int
    form: str
    instructions: int
    ratio: float


def counts_of(size: Size, models: dict[str, Path], processor: str) -> Iterator[Count]:
    """Every model of ``size``, by its last measured inference."""
    device = open_device(f"qemu:{processor}", DeviceOptions())
    with device.prepare(list(models.values()), SETTINGS) as prepared:
        counted = {form: int(prepared.run(path).values[-1]) for form, path in models.items()}
    for form, instructions in counted.items():
        yield Count(processor, size.channels, size.tokens, form, instructions, round(instructions / counted[FLOOR], 4))


def as_markdown(counts: list[Count], note: str) -> str:
    """A table a processor: forms down, sizes across."""
    lines = ["# Forms of one linear attention layer on Arm64", ""]
    lines += [
        "Million instructions per inference on processors emulated by QEMU: not a latency. In brackets the ratio to "
        "the two projections"
    ]
    lines += [f"alone. {note}.", ""]
    for processor in dict.fromkeys(count.processor for count in counts):
        cells = {(count.form, count.channels, count.tokens): count for count in counts if count.processor == processor}
        sizes = list(dict.fromkeys((channels, tokens) for _, channels, tokens in cells))
        lines += [
            f"## {processor}",
            "",
            f"| form | {' | '.join(f'C{channels} N{tokens}' for channels, tokens in sizes)} |",
        ]
        lines.append("| --- |" + " ---: |" * len(sizes))
        for form in dict.fromkeys(form for form, _, _ in cells):
            of_form = [cells.get((form, *size)) for size in sizes]
            texts = [
                "–" if count is None else f"{count.instructions / 1e6:.3f} ({count.ratio:.3f})" for count in of_form
            ]
            lines.append(f"| {form} | {' | '.join(texts)} |")
        lines.append("")
    return "\n".join(lines)


@click.command()
@click.option("--processor", "processors", multiple=True, default=("cortex-a76", "cortex-a53"), show_default=True)
@click.option("--most-tokens", default=4096, show_default=True, help="Larger layers take minutes.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("benchmarks/results"), show_default=True)
def main(processors: tuple[str, ...], most_tokens: int, out: Path) -> None:
    """Count the canonical forms of linear attention."""
    counts: list[Count] = []
    with tempfile.TemporaryDirectory() as scratch:
        for size in (size for size in SIZES if size.tokens <= most_tokens):
            folder = Path(scratch) / f"{size.channels}-{size.tokens}"
            folder.mkdir()
            models = build_models(size, folder)
            if size.tokens > 512:
                models.pop(SOFTMAX, None)  # grows with the square of the tokens
            for processor in processors:
                counts += counts_of(size, models, processor)
            click.echo(f"{size.tokens} tokens done", err=True)
    device = open_device(f"qemu:{processors[0]}", DeviceOptions())
    note = "; ".join(f"{component.name} {component.version}" for component in device.components()[:1])
    document = {"note": note, "counts": [asdict(count) for count in counts]}
    text = as_markdown(counts, note)
    write_results(out / "attention_forms_arm64.md", text, document)
    click.echo(text)


if __name__ == "__main__":
    main()
