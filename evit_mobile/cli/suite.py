"""``evit-mobile bench --suite``: runs a campaign, shows its progress, and ends in the exit code that the results call
for.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from evit_mobile.cli.options import progress
from evit_mobile.errors import ClaimError, DeviceError, EvitMobileError, MachineError, RequestError

if TYPE_CHECKING:
    from android_bench.suites.adaptive import State
    from evit_mobile.campaign import BenchOptions, SuiteOptions
    from evit_mobile.results.record import ResultSet


def list_suites() -> None:
    """Print the name and title of every bundled suite."""
    from android_bench.suites.schema import load_suite, names

    for name in names():
        click.echo(f"{name}  {load_suite(name).title}")


def bench_suite(
    name: str, devices: Sequence[str], options: BenchOptions, suite_options: SuiteOptions, as_json: bool
) -> None:
    """Measure the suite, print the results, and raise the error that sets the exit code."""
    from android_bench.suites.schema import load_suite
    from evit_mobile.campaign import Campaign
    from evit_mobile.cli.suite_table import print_suite

    if options.resume and options.out is None:
        raise RequestError(
            "--resume does not say which file to continue",
            hint="name the result file (of several devices the folder) by --out",
        )
    campaign = Campaign(load_suite(name), devices, options, suite_options, ("evit-mobile", *sys.argv[1:]))
    try:
        measured = campaign.run(Display())
    except (KeyboardInterrupt, EvitMobileError):
        for out, results in campaign.results:
            if results.points:
                click.echo(
                    f"what was measured so far is in {out}; the same command with --out and --resume goes on", err=True
                )
        raise
    print_suite(measured, as_json)
    check_points(measured)


def check_points(measured: Sequence[tuple[Path, ResultSet]]) -> None:
    """Raise the error that sets the exit code: a point failed (one that met a limit did not), or a claim was not
    reproduced.
    """
    from evit_mobile.results.judge.verdict import Outcome
    from evit_mobile.results.judge.verdicts import verdicts

    for out, results in measured:
        for point in results.points:
            if point.error is not None and point.limit is None:
                kind = MachineError if point.model_sha256 is None else DeviceError
                raise kind(f"{point.name} failed: {point.error}", hint=f"what was measured is in {out}")
    for out, results in measured:
        for verdict in verdicts(results):
            if verdict.outcome is Outcome.NOT_REPRODUCED:
                raise ClaimError(
                    f"{verdict.claim} is not reproduced: {verdict.reason}", hint=f"the figures are in {out}"
                )


class Display:
    """Shows a campaign's progress on a terminal; a ``Listener``."""

    @contextlib.contextmanager
    def converting(self, total: int) -> Iterator[Callable[[int, str], None]]:
        with progress(f"converting {total} models") as show:
            yield lambda done, latest: show(f"converting: {done} of {total} models are done, the last was {latest}")

    @contextlib.contextmanager
    def measuring(self, devices: Sequence[str], total: int) -> Iterator[Callable[[str, int, State], None]]:
        from rich.console import Console
        from rich.progress import Progress, SpinnerColumn, TextColumn

        console = Console(stderr=True)
        columns = (SpinnerColumn(), TextColumn("{task.description}"))
        # Drawn between rounds only: a thread that redraws would run beside what is measured.
        with Progress(
            *columns, console=console, transient=True, auto_refresh=False, disable=not console.is_terminal
        ) as bar:
            tasks = {name: bar.add_task(f"{name}: 0 of {total} points", total=None) for name in devices}

            def show(device: str, candidates: int, state: State) -> None:
                left = "" if state.left_s is None else f", at most {_minutes(state.left_s)} left"
                text = f"{device}: {state.done} of {candidates} points are done{left}"
                bar.update(tasks[device], description=text, refresh=True)

            yield show


def _minutes(seconds: float) -> str:
    return f"{seconds // 60:.0f} min {seconds % 60:.0f} s"
