"""The order of turns: every round has each once, and a steady drift adds the same to all."""

from __future__ import annotations

import itertools

from evit_mobile.turns import turns


def test_there_and_back() -> None:
    assert list(itertools.islice(turns("AB"), 4)) == [["A", "B"], ["B", "A"], ["A", "B"], ["B", "A"]]
    places = {name: 0 for name in "ABC"}
    for number, order in enumerate(itertools.islice(turns("ABC"), 4)):
        for place, name in enumerate(order):
            places[name] += 3 * number + place
    assert len(set(places.values())) == 1


def test_a_seed_gives_an_order_that_repeats() -> None:
    rounds = list(itertools.islice(turns(range(8), 3), 5))
    assert all(sorted(order) == list(range(8)) for order in rounds) and len(set(map(tuple, rounds))) == 5
    assert list(itertools.islice(turns(range(8), 3), 5)) == rounds
    assert list(itertools.islice(turns(range(8), 4), 5)) != rounds
