"""The options of ``bench`` that concern suites alone."""

from __future__ import annotations

import re
from typing import Any, Callable

import click

from evit_mobile.cli.options import FiniteRange
from evit_mobile.errors import RequestError

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9}


class BytesType(click.ParamType[int]):
    """``8G``, ``512M`` or plain bytes."""

    name = "SIZE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        match = re.fullmatch(r"(\d{1,18}(?:\.\d{1,18})?)([KMG]?)B?", str(value).strip().upper())
        size = 0 if match is None else int(float(match[1]) * _UNITS[match[2]])
        if not 1 <= size < 2**63:
            raise RequestError(f"memory size {value!r} is not a size", hint="write 8G, 512M or bytes")
        return size


_OPTIONS = (
    click.option("--suite", metavar="NAME|FILE.yaml", help="Measure the points of a figure; --suite list names them."),
    click.option(
        "--budget",
        "budget_s",
        type=FiniteRange(1),
        metavar="SECONDS",
        help="Suite: time to measure.  [default: its own]",
    ),
    click.option(
        "--up-to",
        type=FiniteRange(0),
        metavar="X",
        help="Suite: leave out points beyond these tokens or this side.",
    ),
    click.option(
        "--memory-limit",
        "memory_limit_bytes",
        type=BytesType(),
        metavar="SIZE",
        help="Suite: what a model may use, e.g. 4G.  [default: half of the device's]",
    ),
    click.option(
        "--jobs",
        type=click.IntRange(1, 256),
        help="Suite: conversions at the same time.  [default: as cores and memory allow]",
    ),
    click.option(
        "--dask", metavar="ADDRESS", help="Suite: convert on the Dask cluster of this scheduler, e.g. tcp://HOST:8786."
    ),
)


def suite_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add them to a command, which gets them as keyword arguments."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command
