"""Where in the network the delegate's ops are, by the ops of the file that they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from evit_mobile.results.record import OpTime
from evit_mobile.tflite.costs import macs_of
from evit_mobile.tflite.delegate_ops import is_believable, match
from evit_mobile.tflite.file import Tflite
from evit_mobile.tflite.scopes import blocks_of


@dataclass(frozen=True)
class Place:
    """The block of the network that an op belongs to, its multiply-accumulates, and how often the delegate reads the
    clock in it: it concatenates by a copy of each input, which its profile has once.
    """

    block: str | None
    macs: int
    readings: int = 1


def places(profile: Sequence[OpTime], model: Tflite) -> list[Place]:
    """One entry per op of the profile, in its order; an op that the delegate added is in the block of the one before.
    Without block where the profile's ops are not found in the file.

    Args:
        profile: the ops of one inference.
        model: the file that ran.
    """
    graph = model.graph
    matched = match([op.op for op in profile], graph)
    if not is_believable(matched):
        return [Place(None, 0)] * len(matched)
    blocks = blocks_of(graph)
    found: list[Place] = []
    block = next((blocks[index] for index in matched if index in blocks), None)
    for index in matched:
        block = blocks.get(index, block) if index is not None else block
        op = graph.ops[index] if index is not None else None
        readings = len(op.inputs) if op is not None and op.type == "CONCATENATION" else 1
        found.append(Place(block, macs_of(op, graph) if op is not None else 0, readings))
    return found
