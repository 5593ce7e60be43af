"""The state of a device while it is measured."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import AwareDatetime

from evit_mobile.results.entry import Entry, Whole

#: Android's thermal status from which on it throttles.
THROTTLED = 1
#: Below this part of its maximum a clock is held back; governors stop a step or two short of it.
FREE_CLOCK = 0.85


class Conditions(Entry):
    """The device's state at one moment. What it does not report is empty or None.

    ``clocks_khz`` is keyed by core, ``temperatures_celsius`` by sensor. ``clock_limits_khz`` is the highest clock that
    the system allows each core now; a core is throttled if that is below its maximum. ``thermal_status`` is Android's,
    from 0 (none) to 6.
    """

    at: AwareDatetime
    load_average_1min: float | None = None
    clocks_khz: dict[str, Whole] = {}
    temperatures_celsius: dict[str, float] = {}
    clock_limits_khz: dict[str, Whole] = {}
    thermal_status: Whole | None = None
    battery_percent: float | None = None

    @property
    def is_throttled(self) -> bool:
        """Whether Android itself says that it throttles. It may not say so while its clocks are held back."""
        return (self.thermal_status or 0) >= THROTTLED

    @property
    def hottest_celsius(self) -> float | None:
        """Of all sensors."""
        return max(self.temperatures_celsius.values(), default=None)

    def held_back(self, max_clocks_khz: Mapping[int, int | None]) -> str | None:
        """Which of these cores the system holds below its maximum clock, in words; None where it holds none."""
        for core, most in max_clocks_khz.items():
            limit = self.clock_limits_khz.get(str(core))
            if limit is not None and most and limit < FREE_CLOCK * most:
                return f"core {core} is limited to {limit / 1e3:.0f} of {most / 1e3:.0f} MHz"
        return None
