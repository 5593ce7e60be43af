"""The order in which things that are compared take turns, so that a drift of the machine hits all alike."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def turns(items: Iterable[T], seed: int | str | None = None) -> Iterator[list[T]]:
    """The order of ``items`` in each round, without end.

    Args:
        seed: determines a new random order for each round; None goes there and back: A B, B A, A B, …
    """
    order = list(items)
    number = 0
    while True:
        if seed is None:
            yield order if number % 2 == 0 else order[::-1]
        else:
            yield random.Random(f"{seed} {number}").sample(order, len(order))
        number += 1
