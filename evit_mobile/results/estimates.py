"""Estimates in a result file: times from a model of a core, not measured."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from evit_mobile.results.entry import Count, Entry, Instructions, Microseconds, Name


class Traffic(Entry):
    """Bytes read into the first cache from the second, the third and memory, and bytes written to memory."""

    l2_bytes: Count
    l3_bytes: Count
    memory_bytes: Count
    written_bytes: Count


class Ceilings(Entry):
    """What the core does at most by its model: multiply-accumulates per cycle in a precision (fp32, fp16, int8), and
    bytes per cycle that it reads from memory.
    """

    macs_per_cycle: dict[Name, Annotated[float, Field(gt=0)]]
    memory_bytes_per_cycle: Annotated[float, Field(gt=0)]


class Estimate(Entry):
    """One inference by a model of a core.

    ``low_us`` to ``high_us`` is the estimate with the largest leave-one-out error that it has against published
    latencies of the core. ``cycles`` are those of the first core, as if it ran everything; ``wait_cycles`` is the part
    spent waiting for memory.
    """

    estimated_latency_us: Microseconds
    low_us: Microseconds
    high_us: Microseconds
    instructions: Instructions
    cycles: Count
    wait_cycles: Count
    traffic: Traffic
    ceilings: Ceilings | None = None

    @model_validator(mode="after")
    def _in_interval(self) -> Self:
        if not self.low_us <= self.estimated_latency_us <= self.high_us:
            raise ValueError("estimated_latency_us lies between low_us and high_us")
        return self


class OpEstimate(Entry):
    """One op of an estimated inference, in the order of execution; ``delegated`` is False for what the runtime does
    between partitions. ``block`` is the part of the network that the op belongs to, by the module paths of its source;
    ``macs`` are its multiply-accumulates, 0 for an op that has none.
    """

    op: Name
    delegated: bool
    estimated_us: Annotated[float, Field(ge=0)]
    instructions: Count
    cycles: Count
    wait_cycles: Count
    traffic: Traffic
    block: Name | None = None
    macs: Count = 0
