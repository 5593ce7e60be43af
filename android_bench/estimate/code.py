"""The instructions of traced blocks, in the form that llvm-mca reads."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from android_bench.emulator import parts
from android_bench.estimate.trace import Trace

#: Parts of a file that are nearer than this are disassembled by one call.
NEAR_BYTES = 4096
INSTRUCTION_BYTES = 4
#: What stands for an instruction whose file is not known.
UNKNOWN = "nop"

_LINE = re.compile(r"^\s*([0-9a-f]+):\s+(.*)$", re.MULTILINE)
_BRANCH = re.compile(r"^(b|bl|b\.\w+|cbz|cbnz|tbz|tbnz)\s+(.*)$")
_ADDRESS = re.compile(r"^(adrp?)\s+(\w+),.*$")
_LITERAL = re.compile(r"^(ldr\w*\s+\w+),\s*0x[0-9a-f]+$")


class Disassembly:
    """The code of a trace's blocks.

    Args:
        objdump: llvm-objdump.
        blocks: numbers of the blocks that ``of`` will be asked for.
    """

    def __init__(self, objdump: Path, trace: Trace, blocks: Iterable[int]) -> None:
        self._trace = trace
        self._bases: dict[Path, int] = {}
        for part in trace.mappings:  # in order of addresses, so a file's first part comes first
            self._bases.setdefault(part.path, part.start - part.offset)
        ranges_of: dict[Path, list[tuple[int, int]]] = {}
        for number in blocks:
            block = trace.blocks[number]
            mapping = trace.mapping(block.address)
            if mapping is not None:
                start = block.address - self._bases[mapping.path]
                ranges_of.setdefault(mapping.path, []).append((start, start + INSTRUCTION_BYTES * block.instructions))
        self._code = {path: _disassemble(objdump, path, ranges) for path, ranges in ranges_of.items()}

    def of(self, number: int) -> list[str]:
        """The instructions of a block, one text each."""
        block = self._trace.blocks[number]
        mapping = self._trace.mapping(block.address)
        code = self._code.get(mapping.path, {}) if mapping is not None else {}
        start = block.address - (self._bases[mapping.path] if mapping is not None else 0)
        return [code.get(start + INSTRUCTION_BYTES * index, UNKNOWN) for index in range(block.instructions)]


def _disassemble(objdump: Path, path: Path, ranges: list[tuple[int, int]]) -> dict[int, str]:
    """By address in the file's own address space, where its first part lies at 0."""
    code: dict[int, str] = {}
    for start, end in _merged(ranges):
        options = [
            "--disassemble",
            "--no-show-raw-insn",
            "--mattr=+all",
            f"--start-address={start}",
            f"--stop-address={end}",
        ]
        printed = parts.command([objdump, *options, path], f"disassembling {path.name}", "apt-get install llvm-19")
        code.update((int(address, 16), assembler(text)) for address, text in _LINE.findall(printed))
    return code


def _merged(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for start, end in sorted(ranges):
        if merged and start <= merged[-1][1] + NEAR_BYTES:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return merged


def assembler(text: str) -> str:
    """A disassembled instruction as an assembler takes it without labels: addresses become 0, on which no timing
    depends, and calls become jumps, because llvm-mca takes a call for the whole function and gives it 100 cycles.

    Example:
        >>> assembler("b.hi\\t0x4b4b04 <f+0x40>")
        'b.hi #0'
    """
    text = re.sub(r"<[^>]*>", "", text).split("//")[0].strip()
    branch = _BRANCH.match(text)
    if branch is not None:
        operands = branch[2].split(",")[:-1]
        mnemonic = "b" if branch[1] == "bl" else branch[1]
        return f"{mnemonic} {', '.join([*(operand.strip() for operand in operands), '#0'])}"
    if text.startswith("blr"):
        return text.replace("blr", "br", 1)
    text = _ADDRESS.sub(r"\1 \2, #0", text)
    return _LITERAL.sub(r"\1, #0", text)
