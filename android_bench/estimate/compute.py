"""Computing time of a trace: what each context costs by the scheduling model."""

from __future__ import annotations

import functools
from collections import Counter

from android_bench.estimate.code import Disassembly
from android_bench.estimate.schedule import Region, Scheduler
from android_bench.estimate.tools import Llvm
from android_bench.estimate.trace import Segment, Trace

#: The contexts that are scheduled execute this share of all instructions; the others get the same cycles per
#: instruction as these.
COVERAGE = 0.995
#: Instructions before a block that are scheduled with it: more than a core's reorder buffer holds (128 on a
#: Cortex-A76).
WINDOW = 256


class Computing:
    """Cycles of a trace's segments, as if every access were to the first level and every branch were predicted.

    Args:
        core: the scheduling model, as ``llvm-mca -mcpu`` takes it.

    Raises:
        MachineError: from ``Scheduler``.
    """

    def __init__(self, trace: Trace, llvm: Llvm, core: str) -> None:
        self._trace = trace
        times: Counter[int] = Counter()
        for segment in trace.segments:
            times.update(segment.runs)
        chosen = self._most_executed(times)
        code = Disassembly(llvm.objdump, trace, {block for context in chosen for block in self._window(context)})
        instructions_of = functools.cache(code.of)
        regions: dict[int, tuple[Region, Region]] = {}
        for context in chosen:
            before: Region = tuple(text for block in self._window(context)[:-1] for text in instructions_of(block))
            regions[context] = (before, before + tuple(instructions_of(trace.contexts[context][-1])))
        cycles = Scheduler(llvm, core).cycles(region for pair in regions.values() for region in pair)
        self._cycles = {context: cycles[whole] - cycles[before] for context, (before, whole) in regions.items()}
        executed = sum(times[context] * trace.last_block(context).instructions for context in chosen)
        self._usual = sum(times[context] * self._cycles[context] for context in chosen) / max(executed, 1)

    def cycles(self, segment: Segment) -> float:
        """What the segment's instructions take."""
        return sum(
            times * self._cycles.get(context, self._usual * self._trace.last_block(context).instructions)
            for context, times in segment.runs.items()
        )

    def _most_executed(self, times: Counter[int]) -> list[int]:
        """The contexts that together execute ``COVERAGE`` of the instructions, most first."""
        executed = {context: count * self._trace.last_block(context).instructions for context, count in times.items()}
        left = COVERAGE * sum(executed.values())
        chosen = []
        for context in sorted(executed, key=lambda context: (-executed[context], context)):
            if left <= 0:
                break
            chosen.append(context)
            left -= executed[context]
        return chosen

    def _window(self, context: int) -> tuple[int, ...]:
        """The context's blocks from the last ones that make up ``WINDOW`` instructions on."""
        blocks = self._trace.contexts[context]
        start, instructions = len(blocks) - 1, 0
        while start > 0 and instructions < WINDOW:
            start -= 1
            instructions += self._trace.blocks[blocks[start]].instructions
        return blocks[start:]
