"""What an estimated inference is made of: its ops summed up by block of the network, or by type."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from evit_mobile.results.estimates import OpEstimate, Traffic

#: What is in no block: what the runtime does before, between and after the delegate's partitions.
ELSEWHERE = "(runtime)"


@dataclass(frozen=True)
class Part:
    """All ops of one block or of one type: their number, their time and its share of the inference, their cycles on one
    core, their bytes and their multiply-accumulates.
    """

    name: str
    ops: int
    estimated_us: float
    share: float
    cycles: int
    wait_cycles: int
    traffic: Traffic
    macs: int

    @property
    def waiting(self) -> float:
        """The share of its cycles that it waits for memory."""
        return self.wait_cycles / self.cycles if self.cycles else 0.0

    @property
    def memory_bytes(self) -> int:
        """Read from memory and written to it."""
        return self.traffic.memory_bytes + self.traffic.written_bytes


def by_block(ops: Sequence[OpEstimate]) -> list[Part]:
    """One part per block, in the order in which they first run; empty if the file names none."""
    if not any(op.block for op in ops):
        return []
    return _parts(ops, lambda op: op.block or ELSEWHERE)


def by_type(ops: Sequence[OpEstimate]) -> list[Part]:
    """One part per type of op, the one that takes longest first."""
    return sorted(_parts(ops, lambda op: op.op), key=lambda part: -part.estimated_us)


def _parts(ops: Sequence[OpEstimate], key: Callable[[OpEstimate], str]) -> list[Part]:
    groups: dict[str, list[OpEstimate]] = {}
    for op in ops:
        groups.setdefault(key(op), []).append(op)
    whole_us = sum(op.estimated_us for op in ops)
    return [_part(name, group, whole_us) for name, group in groups.items()]


def _part(name: str, group: Sequence[OpEstimate], whole_us: float) -> Part:
    time_us = sum(op.estimated_us for op in group)
    return Part(
        name=name,
        ops=len(group),
        estimated_us=time_us,
        share=time_us / whole_us if whole_us else 0.0,
        cycles=sum(op.cycles for op in group),
        wait_cycles=sum(op.wait_cycles for op in group),
        traffic=Traffic(
            l2_bytes=sum(op.traffic.l2_bytes for op in group),
            l3_bytes=sum(op.traffic.l3_bytes for op in group),
            memory_bytes=sum(op.traffic.memory_bytes for op in group),
            written_bytes=sum(op.traffic.written_bytes for op in group),
        ),
        macs=sum(op.macs for op in group),
    )
