"""Draws how the delegate divides base-r224, as stock onnx2tf and as evit-mobile convert it:
``docs/assets/partitions.svg``.

    python -m benchmarks.partition_picture

Each op of a file is a stripe in the order of execution, coloured by its partition; an op outside the delegate is a
taller red one.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from converters.options import ConvertOptions
from converters.pipeline import convert
from converters.tflite.inspection import inspect_model
from evit_mobile.files import whole_file
from evit_mobile.runtimes import RUNTIMES

OUT = Path(__file__).resolve().parent.parent / "docs" / "assets" / "partitions.svg"
MODEL = "base-r224"
WIDTH, HEIGHT, MARGIN, BAR, RISE = 640, 256, 16, 44, 8
#: Of neighbouring partitions, and of an op outside.
BLUES, RED = ("#2f6fb3", "#8fb8e0"), "#c8102e"


@dataclass(frozen=True)
class Strip:
    """A converted file: ``partitions`` holds each op's partition in the order of execution, None outside the
    delegate.
    """

    title: str
    partitions: tuple[int | None, ...]

    @property
    def summary(self) -> str:
        """``423 ops: 8 partitions, 21 ops outside``."""
        count = len({partition for partition in self.partitions if partition is not None})
        outside = self.partitions.count(None)
        parts = "1 partition" if count == 1 else f"{count} partitions"
        return f"{len(self.partitions)} ops: {parts}, {outside} op{'' if outside == 1 else 's'} outside"


def strip_of(title: str, rewrite: bool, folder: Path) -> Strip:
    """``MODEL`` converted with or without the graph passes, as LiteRT divides it."""
    path = folder / f"{rewrite}.tflite"
    convert(MODEL, path, ConvertOptions(rewrite=rewrite, check=rewrite))
    ops = inspect_model(path, RUNTIMES["litert"], explain=False).ops
    return Strip(title, tuple(op.partition for op in ops))


def draw(strips: list[Strip]) -> str:
    """The picture as SVG; its size in pixels is the size of its text on a page."""
    version = RUNTIMES["litert"].version()
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="system-ui, sans-serif" '
        f'role="img" aria-label="{"; ".join(f"{strip.title}, {strip.summary}" for strip in strips)}">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" rx="8" fill="#ffffff"/>',
    ]
    top = 30
    for strip in strips:
        lines.append(
            f'<text x="{MARGIN}" y="{top}" font-size="17" font-weight="600" fill="#1b1f24">{strip.title}</text>'
        )
        lines.append(
            f'<text x="{WIDTH - MARGIN}" y="{top}" font-size="16" fill="#1b1f24" '
            f'text-anchor="end">{strip.summary}</text>'
        )
        lines += _bar(strip, top + 18)
        top += 100
    notes = (f"{MODEL}, fp32, {version}.", "Blue: run by the XNNPACK delegate. Red: left to TFLite's own kernels.")
    lines += [
        f'<text x="{MARGIN}" y="{HEIGHT - 34 + 20 * row}" font-size="14" fill="#59636e">{note}</text>'
        for row, note in enumerate(notes)
    ]
    return "\n".join([*lines, "</svg>"]) + "\n"


def _bar(strip: Strip, top: int) -> list[str]:
    """Runs of ops of one partition as one rectangle each."""
    step = (WIDTH - 2 * MARGIN) / len(strip.partitions)
    rectangles, start = [], 0
    for index in range(1, len(strip.partitions) + 1):
        if index < len(strip.partitions) and strip.partitions[index] == strip.partitions[start]:
            continue
        partition = strip.partitions[start]
        x, width = MARGIN + start * step, (index - start) * step
        y, height, colour = (
            (top - RISE, BAR + 2 * RISE, RED) if partition is None else (top, BAR, BLUES[partition % len(BLUES)])
        )
        rectangles.append(f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{height}" fill="{colour}"/>')
        start = index
    return rectangles


def main() -> None:
    """Convert twice, inspect, draw."""
    with tempfile.TemporaryDirectory() as name:
        strips = [strip_of("Stock onnx2tf", False, Path(name)), strip_of("evit-mobile", True, Path(name))]
    with whole_file(OUT) as temporary:
        temporary.write_text(draw(strips), encoding="utf-8")


if __name__ == "__main__":
    main()
