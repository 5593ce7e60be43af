"""What a verdict is: a claim, what was found, and what that means on this device."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from evit_mobile.results.stats import Interval


class Outcome(StrEnum):
    """The outcome of a claim on a device."""

    REPRODUCED = "reproduced"
    NOT_REPRODUCED = "not reproduced"
    NOT_COMPARABLE = "not comparable"
    SAME_DIRECTION = "same direction"
    OPPOSITE = "opposite"
    ESTIMATED_SAME = "estimated: same direction"
    ESTIMATED_OPPOSITE = "estimated: opposite"


@dataclass(frozen=True)
class Number:
    """A figure behind a verdict: ``interval`` is its 95 % interval, ``n`` the rounds (or points) behind it, 0 for a
    count.
    """

    name: str
    value: float
    unit: str
    interval: Interval | None = None
    n: int = 0


@dataclass(frozen=True)
class Verdict:
    """One claim under one setting.

    Attributes:
        claim: the claim's id; text and source are the claim's own.
        setting: threads and cores in words; empty for what is counted.
        reason: one sentence.
        caveats: what a reader has to know with the outcome, starting with the kind of device.
    """

    claim: str
    text: str
    source: str
    setting: str
    outcome: Outcome
    reason: str
    numbers: tuple[Number, ...] = ()
    caveats: tuple[str, ...] = ()


@dataclass(frozen=True)
class Finding:
    """What a check found on any device. ``holds`` and ``direction`` are None if the figures do not decide.

    ``direction`` is True if the figures point the same way as the claim.
    """

    holds: bool | None
    direction: bool | None
    reason: str
    numbers: tuple[Number, ...] = ()
    caveats: tuple[str, ...] = ()
