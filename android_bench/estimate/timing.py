"""From cycles and lines to time: how an op's computing and its waiting for memory add up, on one core or several.

For each op, with the constants of the device's file:

    compute = instructions by the scheduling model + mispredictions x mispredict_cycles
    wait    = lines from L2 and L3 x cycles_per_line + (lines read) / read bandwidth + (lines written) / write bandwidth
    cycles  = (compute^p + wait^p)^(1/p),  p = overlap_power

Ops that compute much for each line hide their memory, ops that only move data hide their computing, and what is in
between pays some of both. Lines that a store touched first are written but not read: the cores here stop reading lines
once a stream of stores is seen.

On n cores an op's computing and its lines from caches are shared in proportion to the cores' clocks, with a loss;
memory grows with the cores up to what all of them get together. What runs between ops runs on one core.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from android_bench.estimate.devices import DeviceModel
from android_bench.estimate.trace import Segment

LINE_BYTES = 64


@dataclass(frozen=True)
class OpCost:
    """What one op takes.

    Attributes:
        name: the op's type, or what ran between ops.
        is_op: whether it is an op of the delegate, whose work the cores share.
        time_us: on the cores that were asked for.
        cycles, compute_cycles: on the first core alone; the difference is waiting for memory.
        level_bytes: read from each level below the first, memory last.
        written_bytes: written to memory.
        block: of the network, where the file names it.
        macs: multiply-accumulates; 0 for other ops.
    """

    name: str
    is_op: bool
    time_us: float
    instructions: int
    cycles: float
    compute_cycles: float
    level_bytes: tuple[int, ...]
    written_bytes: int
    block: str | None = None
    macs: int = 0

    @property
    def wait_cycles(self) -> float:
        """Cycles that the op takes beyond its computing."""
        return self.cycles - self.compute_cycles


@dataclass(frozen=True)
class Work:
    """An op's name, what the tracer saw of it, and the computing that the scheduling model gives it."""

    name: str
    is_op: bool
    segment: Segment
    instructions: int
    scheduled_cycles: float
    block: str | None = None
    macs: int = 0


def cost(work: Work, device: DeviceModel, threads: int = 1) -> OpCost:
    """What ``work`` takes on the first ``threads`` cores of the device."""
    segment = work.segment
    compute = work.scheduled_cycles + segment.mispredicted * device.mispredict_cycles.value
    alone = _combined(compute, _wait_cycles(segment, device, 1.0, 1), device)
    cycles = alone
    extra_us = 0.0
    if threads > 1 and work.is_op:
        share = device.clock_ghz / (device.parallel_efficiency.value * sum(device.clocks_ghz[:threads]))
        cycles = _combined(compute * share, _wait_cycles(segment, device, share, threads), device)
        extra_us = device.thread_us.value
    return OpCost(
        name=work.name,
        is_op=work.is_op,
        time_us=cycles / device.clock_ghz / 1e3 + extra_us,
        instructions=work.instructions,
        cycles=alone,
        compute_cycles=compute,
        level_bytes=tuple(LINE_BYTES * level.lines for level in segment.levels),
        written_bytes=LINE_BYTES * segment.written,
        block=work.block,
        macs=work.macs,
    )


def total_us(costs: Sequence[OpCost]) -> float:
    """The inference's time."""
    return sum(op.time_us for op in costs)


def _combined(compute: float, wait: float, device: DeviceModel) -> float:
    power = device.overlap_power.value
    return float((compute**power + wait**power) ** (1 / power))


def _wait_cycles(segment: Segment, device: DeviceModel, share: float, threads: int) -> float:
    """Cycles of the first core's clock until the lines have come, were nothing else to do; each core has ``share`` of
    them.
    """
    caches = sum(
        level.lines * cache.cycles_per_line for level, cache in zip(segment.levels, device.caches[1:], strict=False)
    )
    memory = device.memory
    limit = memory.all_cores_gb_per_s.value
    read_ns = segment.levels[-1].lines * LINE_BYTES / min(threads * memory.read_gb_per_s.value, limit)
    write_ns = segment.written * LINE_BYTES / min(threads * memory.write_gb_per_s.value, limit)
    return caches * share + (read_ns + write_ns) * device.clock_ghz
