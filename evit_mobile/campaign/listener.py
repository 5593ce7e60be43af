"""Who hears how far a campaign is."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from android_bench.suites.adaptive import State


class Listener(Protocol):
    """Hears how far a campaign is. Each phase is a context; what it yields is called from the thread that made
    progress.
    """

    def converting(self, total: int) -> AbstractContextManager[Callable[[int, str], None]]:
        """``total`` models are about to be converted; yields a function of the number done and the name of the
        latest.
        """

    def measuring(
        self, devices: Sequence[str], total: int
    ) -> AbstractContextManager[Callable[[str, int, State], None]]:
        """``total`` points are about to be measured on each device; yields a function of the device, the number of
        points that are measured under the current setting, and their state.
        """


class Silence:
    """A listener that ignores everything."""

    def converting(self, total: int) -> AbstractContextManager[Callable[[int, str], None]]:
        return contextlib.nullcontext(lambda done, latest: None)

    def measuring(
        self, devices: Sequence[str], total: int
    ) -> AbstractContextManager[Callable[[str, int, State], None]]:
        return contextlib.nullcontext(lambda device, total, state: None)
