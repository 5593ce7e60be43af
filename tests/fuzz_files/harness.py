"""What the fuzzers share: how many tries, and what may come of one."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from contextlib import contextmanager
from typing import Any, Iterator

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.strategies import SearchStrategy

from evit_mobile.errors import RequestError

#: Minutes for each format, by ``make fuzz-files``; without them each takes a fixed number of tries that are always the
#: same.
MINUTES = float(os.environ.get("EVIT_MOBILE_FUZZ_MINUTES", "0"))
#: A message is one line, which a terminal can take.
LONGEST_MESSAGE = 1000


def fuzz(strategy: SearchStrategy[Any], check: Callable[[Any], None], tries: int) -> None:
    """Try ``check`` on what ``strategy`` draws: ``tries`` times, or afresh until the minutes are over. A fault
    raises.
    """
    end, count, slowest = time.monotonic() + 60 * MINUTES, 0, 0.0

    def counted(case: Any) -> None:
        nonlocal count, slowest
        before, count = time.monotonic(), count + 1
        check(case)
        slowest = max(slowest, time.monotonic() - before)

    while True:
        settings(
            max_examples=tries,
            derandomize=not MINUTES,
            database=None,
            deadline=None,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
        )(given(strategy)(counted))()
        if time.monotonic() >= end:
            break
    print(f"{check.__qualname__}: {count} tries, the slowest {slowest:.1f} s", file=sys.stderr)


@contextmanager
def refused_or_read() -> Iterator[None]:
    """The body may end or be refused in one line; any other exception is a fault."""
    try:
        yield
    except RequestError as error:
        assert "\n" not in str(error) and len(str(error)) < LONGEST_MESSAGE, str(error)
