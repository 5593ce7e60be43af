"""The options of ``bench`` that concern a phone, and of which a qemu device knows the first two."""

from __future__ import annotations

from typing import Any, Callable

import click

from evit_mobile.cli.options import FiniteRange

#: Each is named as the field of ``android_bench.device.DeviceOptions`` that it sets.
_OPTIONS = (
    click.option(
        "--benchmark-binary",
        metavar="PATH|URL",
        help="Phone, qemu: benchmark_model to use.  [default: LiteRT's for the phone's ABI; qemu: the bundled runner]",
    ),
    click.option("--benchmark-sha256", metavar="HASH", help="Phone, qemu: what its SHA-256 must be."),
    click.option(
        "--max-temp",
        "max_temperature_celsius",
        type=FiniteRange(0, 150),
        metavar="CELSIUS",
        help="Phone: let the processor cool to this before each round.  [default: while it throttles]",
    ),
    click.option(
        "--cool-timeout",
        "cool_timeout_s",
        type=FiniteRange(0),
        default=600.0,
        metavar="SECONDS",
        help="Phone: give up cooling.  [default: 600]",
    ),
    click.option(
        "--run-timeout",
        "run_timeout_s",
        type=FiniteRange(1),
        metavar="SECONDS",
        help="Phone and suites: stop a run that takes longer.  [default: 600, or the suite's]",
    ),
    click.option(
        "--reconnect",
        "reconnect_s",
        type=FiniteRange(0),
        default=30.0,
        metavar="SECONDS",
        help="Phone: wait for one that went away.  [default: 30]",
    ),
    click.option("--fixed-performance", is_flag=True, help="Phone: Android's fixed-performance mode while measuring."),
    click.option("--stay-awake", is_flag=True, help="Phone: keep the screen on while measuring."),
    click.option("--governor", metavar="NAME", help="Phone: cpufreq governor while measuring; needs root."),
    click.option("--clean", is_flag=True, help="Phone: leave no file on it."),
)


def phone_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add them to a command, which gets them as keyword arguments."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def options_set(options: dict[str, Any]) -> dict[str, Any]:
    """The options that are not None: set by the user, or with a default of their own."""
    return {name: value for name, value in options.items() if value is not None}
