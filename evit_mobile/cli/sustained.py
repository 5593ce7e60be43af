"""``evit-mobile bench --sustained`` and ``--every``: models as an app runs them, for minutes."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from evit_mobile.cli.options import print_json, table_console
from evit_mobile.cli.result_path import how_to_go_on, result_path
from evit_mobile.errors import DeviceError, RequestError

if TYPE_CHECKING:
    from android_bench.device import Device
    from android_bench.suites.rounds import Candidate
    from evit_mobile.campaign import BenchOptions
    from evit_mobile.cli.named_models import NamedModels
    from evit_mobile.results.record import ResultSet
    from evit_mobile.results.steady import Course
    from evit_mobile.results.timeline import Timeline

_SECONDS = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
#: How long a paced run is that does not say so, seconds.
PACED_S = 60.0


class DurationType(click.ParamType[float]):
    """``30m``, ``90s``, ``33ms`` or ``1.5h``, in seconds; between ``least_s`` and ``most_s``."""

    name = "DURATION"

    def __init__(self, least_s: float, most_s: float, example: str) -> None:
        self._least_s, self._most_s, self._example = least_s, most_s, example

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)(ms|s|m|h)", str(value).strip())
        seconds = float(match[1]) * _SECONDS[match[2]] if match is not None else 0.0
        if match is None or not self._least_s <= seconds <= self._most_s:
            option = param.opts[0] if param is not None else "the duration"
            raise RequestError(
                f"{option} takes a duration from {_shown(self._least_s)} to {_shown(self._most_s)}, not {value!r}",
                hint=f"write for example {self._example}",
            )
        return seconds


def _shown(seconds: float) -> str:
    """A duration as it is written on the command line."""
    name = next(name for name, size in reversed(_SECONDS.items()) if seconds >= size)
    return f"{seconds / _SECONDS[name]:g}{name}"


def sustained_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--sustained`` and ``--every`` to a command."""
    every = click.option(
        "--every",
        "every_s",
        type=DurationType(1e-3, 60, "33ms"),
        help="Call at this pace, as a camera does, for --sustained or a minute: latency, late and dropped frames.",
    )
    sustained = click.option(
        "--sustained",
        "sustained_s",
        type=DurationType(1, 24 * 3600, "30m"),
        help="Run without pause for this long: latency, clocks and heat over time.",
    )
    return sustained(every(command))


def bench_sustained(
    device_text: str,
    models: NamedModels,
    sustained_s: float | None,
    every_s: float | None,
    options: BenchOptions,
    as_json: bool,
) -> None:
    """Call models for ``sustained_s``, each call ``every_s`` after the other where that is set.

    Raises:
        RequestError: an option is for rounds, or the file that is to be resumed holds something else.
        DeviceError: a model failed.
    """
    from android_bench.device import kind_of, open_device
    from android_bench.suites.resume import begin
    from android_bench.suites.sustained import new_timeline, resumed
    from evit_mobile.cli.named_models import candidates_of

    _check(models, options)
    started = datetime.now(UTC)
    out = result_path(device_text, models, options, started)
    asked = new_timeline(sustained_s or PACED_S, every_s)
    device = open_device(device_text, options.device_options())
    candidates = candidates_of(models, options.device.runtime)
    before = begin(device, started, ("evit-mobile", *sys.argv[1:]), out if options.resume else None)
    timeline = resumed(before, asked, candidates)
    settings = kind_of(device_text).settings.evolve(
        threads=(options.threads or (1,))[0], cores=options.cores[0], runs=1, rounds=1, min_time_s=0
    )
    done = {point.settings for point in before.points}
    if done - {settings}:
        raise RequestError("the interrupted run had other threads or cores", hint="give them again, or another --out")
    results = _measure(device, candidates, before.evolve(schema_version=4, timeline=timeline), settings, out)
    _print(results, out, as_json)
    for point in results.points:
        if point.error is not None:
            raise DeviceError(f"{point.name} failed: {point.error}", hint=f"what was measured is in {out}")


def _check(models: NamedModels, options: BenchOptions) -> None:
    if models.profile or options.runs is not None or options.rounds is not None:
        raise RequestError("--profile, --runs and --rounds are for rounds", hint="leave them out, or --sustained")
    if len(set(options.threads)) > 1 or len(set(options.cores)) > 1:
        raise RequestError(
            "a sustained run has one setting: what one leaves hot is not fair to the next",
            hint="give one --threads and one --cores",
        )


def _measure(
    device: Device, candidates: list[Candidate], results: ResultSet, settings: Any, out: Path
) -> ResultSet:
    """Measure, with all that there is on disk after each look."""
    from rich.console import Console
    from rich.progress import Progress

    from android_bench.device import UnusableDeviceError
    from android_bench.suites.sustained import keep_measuring
    from evit_mobile.results.files import save

    assert results.timeline is not None
    console = Console(stderr=True)
    try:
        with Progress(console=console, transient=True, auto_refresh=False, disable=not console.is_terminal) as bar:
            task = bar.add_task("measuring", total=results.timeline.duration_s)
            for points, timeline in keep_measuring(device, candidates, settings, results.timeline, results.points):
                results = results.evolve(points=points, timeline=timeline)
                if timeline.turns:
                    out.parent.mkdir(exist_ok=True)
                    save(results, out)
                bar.update(task, completed=timeline.end_s, refresh=True)
    except (KeyboardInterrupt, UnusableDeviceError, OSError):
        if out.exists():
            click.echo(how_to_go_on(out), err=True)
        raise
    return results


def _print(results: ResultSet, out: Path, as_json: bool) -> None:
    from evit_mobile.results.steady import courses
    from evit_mobile.results.summary import caveats
    from evit_mobile.results.timeline_words import said, table

    timeline = results.timeline
    assert timeline is not None
    shown = courses(timeline)
    if as_json:
        print_json(_document(results, timeline, shown, out))
        return
    for text in caveats(results):
        click.echo(text)
    _print_table(*table(shown))
    for text in said(results):
        click.echo(text)
    click.echo(f"results: {out}")
    click.echo(f"next: evit-mobile report {out}")


def _print_table(header: list[str], rows: list[list[str]]) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from evit_mobile.text import visible

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(header[0], overflow="fold", min_width=12)
    for heading in header[1:]:
        table.add_column(heading, justify="right", no_wrap=True)
    for name, *cells in rows:
        table.add_row(Text(visible(name)), *cells)
    table_console(200).print(table)


def _document(results: ResultSet, timeline: Timeline, shown: list[Course], out: Path) -> dict[str, Any]:
    """What ``--json`` prints; times in microseconds and seconds, as the fields' names say."""
    from dataclasses import asdict

    from evit_mobile.results.steady import first_throttling
    from evit_mobile.results.summary import caveats
    from evit_mobile.results.timeline_words import said

    throttling = first_throttling(timeline, results.device)
    return {
        "out": str(out),
        "device": results.device.model_dump(mode="json"),
        "caveats": caveats(results),
        "duration_s": timeline.duration_s,
        "every_us": timeline.period_us,
        "order": [turn.point for turn in timeline.turns],
        "gaps": [gap.model_dump() for gap in timeline.gaps],
        "first_throttling": asdict(throttling) if throttling is not None else None,
        "power_source": timeline.power_source,
        "notes": said(results),
        "points": [
            {
                "name": course.point,
                "turns": course.turns,
                "calls": course.calls,
                "first_minute_us": asdict(course.first) if course.first else None,
                "steady_us": asdict(course.steady) if course.steady else None,
                "steady_from_s": course.steady_from_s,
                "steady_to_first_minute": asdict(course.steady_to_first) if course.steady_to_first else None,
                "frames": {**asdict(course.frames), "missed": course.frames.missed} if course.frames else None,
                "joules_per_inference": asdict(course.joules) if course.joules else None,
            }
            for course in shown
        ],
    }
