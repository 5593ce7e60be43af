"""Which partition runs which op: read from a loaded model, after its delegate has taken what it wants.

A runtime lists the model's own ops and, behind them, one ``DELEGATE`` node a partition. It does not say which ops a
partition took. But a partition's node names its outer inputs and outputs, so the ops in it are those met on the way
back from its outputs to its inputs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Sequence

from evit_mobile.runtimes.session import OpInfo

DELEGATE = "DELEGATE"


@dataclass(frozen=True)
class Partitioning:
    """Who runs what.

    Attributes:
        count: number of partitions.
        partition_of: op index -> partition, from 0 in order of execution.
        undelegated: indices of the ops that TFLite's own kernels run.
        idle: indices of the ops that nothing runs: no output depends on them, or the delegate took their constant
            results (unpacking of half-precision weights, say) into itself.
    """

    count: int
    partition_of: dict[int, int]
    undelegated: tuple[int, ...]
    idle: tuple[int, ...]


def read_partitioning(ops: Sequence[OpInfo], outputs: Sequence[int]) -> Partitioning:
    """Divide ``ops`` (a session's, delegate nodes among them) by who runs them; ``outputs`` are the model's, by
    tensor.
    """
    own = [op for op in ops if op.name != DELEGATE]
    delegates = [op for op in ops if op.name == DELEGATE]
    producers = {tensor: op for op in own for tensor in op.outputs}
    partition_of: dict[int, int] = {}
    for number, delegate in enumerate(delegates):
        for op in _reachable(delegate.outputs, set(delegate.inputs), producers):
            partition_of.setdefault(op.index, number)
    # What the outputs need, where a delegate stands for the ops that it replaced.
    replaced = {**producers, **{tensor: delegate for delegate in delegates for tensor in delegate.outputs}}
    live = {op.index for op in _reachable(outputs, set(), replaced)}
    return Partitioning(
        len(delegates),
        {index: number for index, number in partition_of.items() if index not in live},
        tuple(op.index for op in own if op.index in live),
        tuple(op.index for op in own if op.index not in live and op.index not in partition_of),
    )


def _reachable(tensors: Sequence[int], stop: set[int], producers: dict[int, OpInfo]) -> list[OpInfo]:
    """Ops met on the way back from ``tensors``; the way ends at ``stop``."""
    owners: dict[int, OpInfo] = {}
    pending, seen = list(tensors), set(stop)
    while pending:
        tensor = pending.pop()
        if tensor in seen or tensor not in producers:
            continue
        seen.add(tensor)
        op = producers[tensor]
        owners[op.index] = op
        pending.extend(op.inputs)
    return list(owners.values())
