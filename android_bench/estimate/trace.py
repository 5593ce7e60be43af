"""What one inference executed and how it used the caches: the output of the tracer (``tracer.c``), read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from evit_mobile.errors import DeviceError


@dataclass(frozen=True)
class Block:
    """A stretch of code without a branch inside: its address in the process and its number of instructions."""

    address: int
    instructions: int


@dataclass(frozen=True)
class Mapping:
    """A part of a file in the process's memory: addresses ``start`` to ``end`` hold it from ``offset`` on."""

    start: int
    end: int
    offset: int
    path: Path


@dataclass(frozen=True)
class Level:
    """Lines that came from one level, and how many of them continued a stream that a prefetcher follows."""

    lines: int
    streamed: int


@dataclass(frozen=True)
class Segment:
    """What was executed between two readings of the clock.

    Attributes:
        runs: how often each context ran, by its number in ``Trace.contexts``.
        levels: lines from the second level, the third, …, and memory last, without those that were stored to before
            they were read.
        written: lines written back to memory.
        stored: lines that were in no cache when a store touched them.
        mispredicted: branches that a long global history did not predict.
    """

    runs: dict[int, int]
    accesses: int
    written: int
    stored: int
    mispredicted: int
    levels: tuple[Level, ...]


@dataclass
class Trace:
    """One inference. A context is a sequence of block numbers: the last one ran, after the others."""

    blocks: dict[int, Block] = field(default_factory=dict)
    contexts: list[tuple[int, ...]] = field(default_factory=list)
    mappings: list[Mapping] = field(default_factory=list)
    segments: list[Segment] = field(default_factory=list)

    def instructions(self, segment: Segment) -> int:
        """Instructions that the segment executed."""
        return sum(times * self.last_block(context).instructions for context, times in segment.runs.items())

    def last_block(self, context: int) -> Block:
        """The block whose executions the context counts."""
        return self.blocks[self.contexts[context][-1]]

    def mapping(self, address: int) -> Mapping | None:
        """The file that an address holds; None if it holds none."""
        return next((entry for entry in self.mappings if entry.start <= address < entry.end), None)

    def of(self, copy: Path, original: Path) -> Trace:
        """The trace of ``copy``, a file of the same layout as ``original``, as one of ``original``."""
        for number, entry in enumerate(self.mappings):
            if entry.path == copy:
                self.mappings[number] = replace(entry, path=original)
        return self


def read(lines: Iterable[str]) -> Trace:
    """The last inference of a tracer's output.

    Raises:
        DeviceError: the output was cut short or holds no inference.
    """
    trace = Trace()
    runs: dict[int, int] = {}
    is_whole = False
    try:
        for line in lines:
            kind, _, rest = line.rstrip("\n").partition(" ")
            if kind == "run":
                _, context, times = map(int, rest.split())
                runs[context] = times
            elif kind == "context":
                trace.contexts.append(tuple(map(int, rest.split())))
            elif kind == "block":
                number, address, instructions = rest.split()
                trace.blocks[int(number)] = Block(int(address, 16), int(instructions))
            elif kind == "traffic":
                trace.segments.append(_segment(runs, rest))
                runs = {}
            elif kind == "start":
                trace.segments.clear()
            elif kind == "end":
                is_whole = True
            elif kind == "map":
                trace.mappings.extend(_mapping(rest))
    except ValueError as error:
        raise DeviceError(f"the tracer's output was cut short: {line.strip()[:60]!r}") from error
    if not trace.segments or not is_whole:
        raise DeviceError("the tracer's output does not hold a complete inference")
    return trace


def _segment(runs: dict[int, int], text: str) -> Segment:
    _, accesses, written, stored, mispredicted, *levels = map(int, text.split())
    pairs = zip(levels[::2], levels[1::2], strict=True)
    return Segment(
        runs, accesses, written, stored, mispredicted, tuple(Level(lines, streamed) for lines, streamed in pairs)
    )


def _mapping(text: str) -> Iterable[Mapping]:
    """Of a line ``START-END MODE OFFSET DEVICE INODE PATH`` of /proc/self/maps; nothing where it has no path."""
    fields = text.split(maxsplit=5)
    if len(fields) == 6 and fields[5].startswith("/"):
        start, end = (int(bound, 16) for bound in fields[0].split("-"))
        yield Mapping(start, end, int(fields[2], 16), Path(fields[5]))
