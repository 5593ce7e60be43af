"""What an inference costs, block by block of the network: counted from the file, and timed where a result says so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class BlockCost:
    """The ops of one block, in bytes and multiply-accumulates; ``precisions`` counts them by type of their values."""

    name: str
    ops: int
    undelegated: int
    macs: int
    weight_bytes: int
    activation_bytes: int
    precisions: Mapping[str, int]


@dataclass(frozen=True)
class BlockTimes:
    """The time of each block in microseconds, by one result: ``label`` says which, and whether it was measured."""

    label: str
    times_us: Mapping[str, float]


def shares(values: Sequence[float]) -> list[float]:
    """Each value as a part of their sum."""
    whole = sum(values)
    return [value / whole if whole else 0.0 for value in values]
