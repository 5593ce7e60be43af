"""What a sustained or a paced run measured: calls, clocks and temperatures on one time axis.

The axis is the time since the run began. What lies between an interruption and its resumption is not on it and is a
``Gap``. Half an hour of a small model is millions of calls, so they are kept as windows of equal length.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from evit_mobile.results.conditions import Conditions
from evit_mobile.results.entry import Count, Entry, Microseconds, Name

Seconds = Annotated[float, Field(ge=0, lt=1e7)]
#: Windows and moments that a run may have; ours has at most 1200 a model.
MOST = 100_000

#: Where the power comes from: the battery's current and voltage, for the whole phone, or the processor package's own
#: counter of energy.
PowerSource = Literal["battery", "package"]


class Window(Entry):
    """The calls that began from ``at_s`` on, for one window's length.

    Of a paced run, ``late`` calls were not over when the next frame was due, and ``dropped`` frames were never called
    for, since a newer one was due before the model was free.
    """

    at_s: Seconds
    calls: Annotated[Count, Field(ge=1)]
    p10_us: Microseconds
    median_us: Microseconds
    p90_us: Microseconds
    max_us: Microseconds
    late: Count | None = None
    dropped: Count | None = None


class Turn(Entry):
    """One process with one model: loaded, run once, warmed up, then called without pause or at the frames' pace.

    ``point`` is the name of the model's point and ``at_s`` the time of the first call after the warm-up.
    """

    point: Name
    at_s: Seconds
    init_us: Microseconds | None = None
    first_inference_us: Microseconds | None = None
    warmup_us: tuple[Microseconds, ...] = ()
    cores_mask: Annotated[str, Field(pattern=r"^0x[0-9a-f]+$")] | None = None
    windows: Annotated[tuple[Window, ...], Field(max_length=MOST)] = ()


class Moment(Entry):
    """The device's state at a time of the axis; ``power_w`` is what it drew since the moment before, if it says so."""

    at_s: Seconds
    conditions: Conditions
    power_w: Annotated[float, Field(gt=0, lt=1e5)] | None = None


class Gap(Entry):
    """The run was interrupted at ``at_s`` and resumed after ``lasted_s``."""

    at_s: Seconds
    lasted_s: Annotated[float, Field(ge=0)]


class Timeline(Entry):
    """A run of ``duration_s`` without pause, or with a call every ``period_us``.

    ``turns`` are in the order in which the models took them. Throttling and heat go from one turn to the next.
    """

    duration_s: Annotated[Seconds, Field(gt=0)]
    window_s: Annotated[Seconds, Field(gt=0)]
    period_us: Microseconds | None = None
    power_source: PowerSource | None = None
    turns: Annotated[tuple[Turn, ...], Field(max_length=MOST)] = ()
    moments: Annotated[tuple[Moment, ...], Field(max_length=MOST)] = ()
    gaps: Annotated[tuple[Gap, ...], Field(max_length=MOST)] = ()

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        windows = [window.at_s for turn in self.turns for window in turn.windows]
        turns, moments = [turn.at_s for turn in self.turns], [moment.at_s for moment in self.moments]
        if any(times != sorted(times) for times in (windows, turns, moments)):
            raise ValueError("the turns, windows and moments of a timeline are in the order of time")
        return self

    @property
    def end_s(self) -> float:
        """Up to when the run has been recorded."""
        ends = [turn.windows[-1].at_s + self.window_s if turn.windows else turn.at_s for turn in self.turns[-1:]]
        return max([*ends, *(moment.at_s for moment in self.moments[-1:])], default=0.0)

    @property
    def is_complete(self) -> bool:
        """Whether it lasted as long as it was asked to, to a window."""
        return self.end_s > self.duration_s - self.window_s
