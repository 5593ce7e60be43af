"""Calls of one turn as windows of the time axis."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from android_bench.device import Calls
from evit_mobile.results.timeline import Window


class Windows:
    """Gathers the calls of one turn.

    Args:
        at_s: when the turn's first call was due, on the axis.
        window_s: the length of a window.
        period_ns: the time between two frames; None for calls without pause.
    """

    def __init__(self, at_s: float, window_s: float, period_ns: int | None) -> None:
        self._at_s, self._window_ns, self._period_ns = at_s, round(window_s * 1e9), period_ns
        self._start_ns: NDArray[np.int64] = np.zeros(0, np.int64)
        self._duration_ns: NDArray[np.int64] = np.zeros(0, np.int64)
        self._frame = -1
        self.closed: tuple[Window, ...] = ()

    def add(self, calls: Calls) -> None:
        """Add what was called since the last time; windows that are over are closed."""
        self._start_ns = np.concatenate([self._start_ns, calls.start_ns])
        self._duration_ns = np.concatenate([self._duration_ns, calls.duration_ns])
        numbers = self._start_ns // self._window_ns
        self._close([int(number) for number in np.unique(numbers)][:-1])

    def finish(self) -> None:
        """Close the last window: nothing more is called."""
        self._close([int(number) for number in np.unique(self._start_ns // self._window_ns)])

    def _close(self, numbers: list[int]) -> None:
        windows = [self._window(number) for number in numbers]
        self.closed += tuple(windows)
        if numbers:
            rest = self._start_ns >= (numbers[-1] + 1) * self._window_ns
            self._start_ns, self._duration_ns = self._start_ns[rest], self._duration_ns[rest]

    def _window(self, number: int) -> Window:
        inside = self._start_ns // self._window_ns == number
        start_ns, duration_ns = self._start_ns[inside], self._duration_ns[inside]
        p10, median, p90 = np.percentile(duration_ns, [10, 50, 90]) / 1e3
        late = dropped = None
        if self._period_ns is not None:
            # A call begins when its frame is due or later, and before the next one is.
            frames = start_ns // self._period_ns
            late = int(np.sum(start_ns + duration_ns > (frames + 1) * self._period_ns))
            dropped = int(frames[-1]) - self._frame - len(frames)
            self._frame = int(frames[-1])
        return Window(
            at_s=self._at_s + number * self._window_ns / 1e9,
            calls=len(start_ns),
            p10_us=p10,
            median_us=median,
            p90_us=p90,
            max_us=duration_ns.max() / 1e3,
            late=late,
            dropped=dropped,
        )
