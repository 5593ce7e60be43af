"""What an fp32 inference on an emulated Arm64 processor executes, by kind of kernel, for ours and the other converters'
models.

    python -m benchmarks.peers.arm64_kernels [--folder build/peers] [--out benchmarks/results/arm64_kernels.md]

Takes the models that ``benchmarks.peers.arm64`` made. The library has no symbols, so the blocks that ran are put
together by function (its unwind table) and a function is told by the instructions of its hottest loop: products by one
lane of a register (``fmla v.4s, v.4s, v.s[0]``) are a matrix product's, products of whole registers beside loads a
depthwise convolution's, and those between a minimum and a maximum hard-swish's. What is left over is all that a rewrite
of the graph could save: the three kinds are asked for by the network.
"""

from __future__ import annotations

import bisect
import functools
import re
import subprocess
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

import click

from android_bench.emulator.device import open_qemu
from benchmarks.peers.compare import CONVERTERS, ROOT
from benchmarks.peers.networks import ROWS
from benchmarks.results_files import write_results

TITLES = ("base-r224", "base at 512")
KINDS = ("matrix products", "depthwise", "hard-swish", "all else")
#: Bytes of a function's hottest loop that are looked at: XNNPACK's longest has 123 instructions.
_LOOP_BYTES = 512


@dataclass(frozen=True)
class Kernels:
    """Instructions of one inference by kind of kernel."""

    row: str
    processor: str
    converter: str
    instructions: dict[str, int]


def _disassembled(library: Path, start: int, end: int) -> list[tuple[int, str]]:
    """Address and text of each instruction."""
    command = [
        "aarch64-linux-gnu-objdump",
        "-d",
        "--no-show-raw-insn",
        f"--start-address={start}",
        f"--stop-address={end}",
    ]
    printed = subprocess.run([*command, library], capture_output=True, text=True, check=True).stdout
    return [(int(address, 16), text) for address, text in re.findall(r"^ *([0-9a-f]+):\t(.*)$", printed, re.MULTILINE)]


@functools.cache
def functions(library: Path) -> list[int]:
    """Where functions start: by the unwind table, and between its entries, where assembly is, by the landing pads of
    calls.
    """
    command = ["aarch64-linux-gnu-readelf", "--debug-dump=frames", str(library)]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    spans = re.findall(r"FDE cie=\S+ pc=([0-9a-f]+)\.\.([0-9a-f]+)", printed)
    known = sorted((int(start, 16), int(end, 16)) for start, end in spans)
    starts = [start for start, _ in known]
    for (_, end), (start, _) in zip(known, known[1:]):
        if start - end > _LOOP_BYTES:
            starts += [
                end,
                *(address for address, text in _disassembled(library, end, start) if text.startswith("bti")),
            ]
    return sorted(set(starts))


@functools.cache
def kind_of(library: Path, address: int) -> str:
    """The kind of the kernel whose hottest block begins at ``address``."""
    lines = [text for _, text in _disassembled(library, address, address + _LOOP_BYTES)]
    end = next((number for number, line in enumerate(lines) if re.match(r"(b\.|b\s|cb|tb|ret)", line)), len(lines))
    loop = lines[: end + 1]
    names = Counter(line.split()[0] for line in loop)
    if sum(bool(re.match(r"fmla.*\.s\[\d\]", line)) for line in loop) >= 4:
        return "matrix products"
    if names["fmla"] and names["fmin"] and names["fmax"] and names["fmul"]:
        return "hard-swish"
    if names["fmla"] >= 9 and names["ldp"] + names["ldr"] >= names["fmla"] // 2:
        return "depthwise"
    return "all else"


def by_kind(blocks: str, library: Path) -> dict[str, int]:
    """Instructions by kind, from the counter's lines ``map`` and ``block``."""
    mapped = re.findall(rf"^map ([0-9a-f]+)-([0-9a-f]+) .*{re.escape(str(library.resolve()))}$", blocks, re.MULTILINE)
    base, end = int(mapped[0][0], 16), int(mapped[-1][1], 16)
    starts = functions(library)
    kernels: dict[int, Counter[int]] = {}
    for text, size, times in re.findall(r"^block ([0-9a-f]+) (\d+) (\d+)$", blocks, re.MULTILINE):
        address = int(text, 16) - base
        place = bisect.bisect(starts, address) - 1 if 0 <= address < end - base else -1
        kernels.setdefault(place, Counter())[address] += int(size) * int(times)
    total = dict.fromkeys(KINDS, 0)
    for place, counted in kernels.items():
        kind = "all else" if place < 0 else kind_of(library, counted.most_common(1)[0][0])
        total[kind] += counted.total()
    return total


def table(rows: list[Kernels]) -> str:
    """Markdown."""
    lines = [
        "Million instructions per fp32 inference on a processor emulated by QEMU, by kind of kernel; LiteRT 2.1.2. "
        "Made by",
        "`python -m benchmarks.peers.arm64_kernels`.",
        "",
        f"| network | processor | converter | {' | '.join(KINDS)} | whole |",
        "| --- | --- | --- |" + " ---: |" * (len(KINDS) + 1),
    ]
    for row in rows:
        cells = [f"{row.instructions[kind] / 1e6:.2f}" for kind in KINDS]
        lines.append(
            f"| {row.row} | {row.processor} | {row.converter} | {' | '.join(cells)} | "
            f"{sum(row.instructions.values()) / 1e6:.2f} |"
        )
    return "\n".join(lines) + "\n"


@click.command()
@click.option(
    "--folder", type=click.Path(path_type=Path, exists=True), default=ROOT / "build/peers", help="Where the models are."
)
@click.option("--processor", "processors", multiple=True, default=("cortex-a76", "cortex-a53"), show_default=True)
@click.option("--title", "titles", multiple=True, default=TITLES, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=ROOT / "benchmarks/results/arm64_kernels.md")
def main(folder: Path, processors: tuple[str, ...], titles: tuple[str, ...], out: Path) -> None:
    """Count by kind of kernel, and write the table (.md) and its numbers (.json)."""
    rows: list[Kernels] = []
    for title in (row.title for row in ROWS if row.title in titles):
        for processor in processors:
            qemu = open_qemu(processor)
            for converter in CONVERTERS:
                model = folder / f"{title.replace(' ', '_')}-{converter}.tflite"
                rows.append(Kernels(title, processor, converter, by_kind(qemu.blocks(model), qemu.library)))
                click.echo(table(rows).splitlines()[-1], err=True)
    write_results(out, table(rows), [asdict(row) for row in rows])


if __name__ == "__main__":
    main()
