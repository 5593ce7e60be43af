"""The paper's claims, as package data: ``claims.yaml`` beside this file."""

from __future__ import annotations

import functools
import importlib.resources
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from evit_mobile.results.entry import Entry, Name

Positive = Annotated[float, Field(gt=0)]


class RatioCheck(Entry):
    """Wherever both series have a point, ``of`` takes ``low`` to ``high`` times as much as ``to``; ``high`` may be
    open.

    Their counted MACs must agree within ``macs_within``, if it is set.
    """

    kind: Literal["ratio"]
    of: Name
    to: Name
    low: Positive
    high: Positive | None = None
    macs_within: Positive | None = None


class GrowthCheck(Entry):
    """The ratio of ``of`` to ``to`` grows along the curve; with ``counts`` the ratio of MACs, and so that it
    passes 1.
    """

    kind: Literal["growth"]
    of: Name
    to: Name
    counts: bool = False


class RivalCheck(Entry):
    """Each model of the series ``of`` takes ``low`` to ``high`` times as much as its rival.

    That is the fastest of the series ``to`` whose published top-1 accuracy is higher, by at least ``by_top1`` points.
    """

    kind: Literal["rival"]
    of: Name
    to: Name
    by_top1: Annotated[float, Field(ge=0)] = 0
    low: Positive
    high: Positive | None = None


class MacsCheck(Entry):
    """A model's counted MACs at a side, in millions."""

    kind: Literal["macs"]
    model: Name
    side: Positive
    low: Positive
    high: Positive


class Claim(Entry):
    """What the paper claims.

    ``figure`` is that of the suites that can check it (``Suite.figure``). ``measured_on`` is the SoC of the paper's
    figure, ``soc_part`` its part number and ``max_clock_khz`` the highest clock of its cores; None for what is counted
    and not measured. ``unstated`` lists what the paper leaves open, and ``reading`` says how a vague term ("similar",
    "3x") was interpreted.
    """

    id: Name
    figure: Name
    text: Name
    source: Name
    check: Annotated[RatioCheck | GrowthCheck | RivalCheck | MacsCheck, Field(discriminator="kind")]
    measured_on: Name | None = None
    soc_part: Name | None = None
    max_clock_khz: Annotated[int, Field(gt=0)] | None = None
    unstated: tuple[Name, ...] = ()
    reading: Name | None = None


@functools.cache
def all_claims() -> tuple[Claim, ...]:
    """Every claim, in the order of the file."""
    import yaml

    text = importlib.resources.files(__package__).joinpath("claims.yaml").read_text(encoding="utf-8")
    return TypeAdapter(tuple[Claim, ...]).validate_python(yaml.safe_load(text))


def claims_of(figure: str | None) -> list[Claim]:
    """The claims that a suite of this figure can check."""
    return [claim for claim in all_claims() if claim.figure == figure]
