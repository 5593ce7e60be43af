"""``evit-mobile bench --suite``: the points of a figure on one or several devices."""

from __future__ import annotations

import itertools
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from evit_mobile.cli.options import progress, say
from evit_mobile.cli.phone_options import given
from evit_mobile.cli.suite_options import SuiteChoice, result_paths
from evit_mobile.errors import ClaimError, DeviceError, EvitMobileError, MachineError, RequestError

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from android_bench.device import Device
    from android_bench.suites.rounds import Candidate
    from android_bench.suites.schema import SuiteFile, SuitePoint
    from converters.batch import Made
    from evit_mobile.results.record import Point, ResultSet, RunSettings
    from evit_mobile.specs import Resolution

#: Part of a device's memory that a model may use unless told, and of what is free where the device is this machine.
SHARE, FREE_SHARE = 0.5, 0.8
#: Kinds whose models run in this machine's memory.
LOCAL_KINDS = ("host", "qemu", "estimate")


@dataclass(frozen=True)
class SuiteRequest:
    """What was asked for; see ``evit-mobile bench --help``."""

    suite: SuiteFile
    choice: SuiteChoice
    runtime: str
    threads: tuple[int, ...]
    cores: tuple[str, ...]
    runs: int | None
    rounds: int | None
    out: Path | None
    resume: bool
    force: bool
    phone: dict[str, Any]

    @property
    def budget_s(self) -> float:
        return self.choice.budget_s or self.suite.measure.budget_s


@dataclass
class Lane:
    """One device, its settings, and its result file as it grows."""

    text: str
    device: Device
    settings: list[RunSettings]
    limit_bytes: int
    out: Path
    results: ResultSet


def bench_suite(
    choice: SuiteChoice,
    as_json: bool,
    files: tuple[Path, ...],
    names: tuple[str, ...],
    resolution: Resolution | None,
    runtime: str,
    threads: tuple[int, ...],
    cores: tuple[str, ...],
    runs: int | None,
    rounds: int | None,
    profile: bool,
    out: Path | None,
    resume: bool,
    force: bool,
    **phone: Any,
) -> None:
    """``evit-mobile bench --suite``: measure, print, and raise what the exit code is of."""
    from android_bench.suites.schema import load_suite
    from android_bench.suites.schema import names as all_names
    from evit_mobile.cli.suite_table import print_suite

    if files or names or resolution is not None or profile:
        raise RequestError(
            "a suite says itself what is measured", hint="leave out files, --model, --resolution and --profile"
        )
    if choice.name == "list":
        for name in all_names():
            click.echo(f"{name}  {load_suite(name).title}")
        return
    if resume and out is None:
        raise RequestError(
            "--resume does not say what to go on with",
            hint="name the result file (of several devices the folder) by --out",
        )
    request = SuiteRequest(
        load_suite(choice.name), choice, runtime, threads, cores, runs, rounds, out, resume, force, given(phone)
    )
    measured = run_suite(request)
    print_suite(measured, as_json)
    check_points(measured)


def run_suite(request: SuiteRequest) -> list[tuple[Path, ResultSet]]:
    """Convert and measure; each device's result is on disk after every round.

    Raises:
        EvitMobileError: the request is wrong, a device cannot be used, or nothing could be converted.
    """
    points = request.suite.points(request.choice.up_to)
    if not points:
        raise RequestError(
            f"no point of the suite {request.suite.name} lies up to {request.choice.up_to:g}", hint="raise --up-to"
        )
    lanes = _lanes(request, datetime.now(UTC))
    made = _convert(request, points, max(lane.limit_bytes for lane in lanes))
    _measure_all(lanes, lambda lane, tell, stop: _measure(lane, request, points, made, tell, stop), len(points))
    return [(lane.out, lane.results) for lane in lanes]


def check_points(measured: Sequence[tuple[Path, ResultSet]]) -> None:
    """Raise the error that the exit code is of: a point that failed (one that met a limit did not), or a claim that was not reproduced."""
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


def _lanes(request: SuiteRequest, started: datetime) -> list[Lane]:
    """Every device opened, its file ready to be written and, with --resume, read."""
    from evit_mobile.files import check_output
    from evit_mobile.results.record import file_name

    usual = [Path("results") / f"{request.suite.name}-{file_name(text, started)}" for text in request.choice.devices]
    paths = result_paths(request.out, request.suite.name, request.choice.devices, usual)
    for path in paths:
        if request.out is None or len(paths) > 1:
            path.parent.mkdir(parents=True, exist_ok=True)
        check_output(path, force=request.force or request.resume, inputs=(request.choice.name,))
    return [_lane(request, text, path, started) for text, path in zip(request.choice.devices, paths)]


def _lane(request: SuiteRequest, text: str, out: Path, started: datetime) -> Lane:
    from android_bench.device import DeviceOptions, default_settings, open_device
    from evit_mobile.results.record import RunSettings

    plan = request.suite.measure
    options = DeviceOptions(runtime=request.runtime, say=say, **{"run_timeout_s": plan.run_timeout_s, **request.phone})
    device = open_device(text, options)
    limit = _limit_bytes(device, request.choice.memory_limit_bytes)
    if text.partition(":")[0] == "host":
        device = open_device(text, replace(options, memory_limit_bytes=limit))
    usual = default_settings(text)
    counted = usual.min_time_s == 0
    rounds = request.rounds or (usual.rounds if counted else plan.rounds)
    runs = request.runs or (usual.runs if counted else plan.runs * rounds)
    settings = [
        RunSettings(
            threads=threads,
            cores=cores,
            runs=runs,
            rounds=rounds,
            warmup_runs=plan.warmup_runs,
            min_time_s=0 if counted or request.runs else plan.min_time_s * rounds,
        )
        for cores in dict.fromkeys(request.cores)
        for threads in dict.fromkeys(request.threads or _default_threads(text, cores))
    ]
    return Lane(text, device, settings, limit, out, _begin(request, device, out, started, limit))


def _default_threads(text: str, cores: str) -> tuple[int, ...]:
    """The paper does not say how many threads it used: a phone is tried with one, and where all cores may be used with four."""
    return (1, 4) if text.partition(":")[0] == "adb" and cores == "all" else (1,)


def _limit_bytes(device: Device, wanted: int | None) -> int:
    import psutil

    if wanted is not None:
        return wanted
    info = device.describe()
    here = psutil.virtual_memory()
    half = int((info.memory_bytes or here.total) * SHARE)
    return min(half, int(here.available * FREE_SHARE)) if info.kind in LOCAL_KINDS else half


def _begin(request: SuiteRequest, device: Device, out: Path, started: datetime, limit_bytes: int) -> ResultSet:
    """An empty result, or the one that is gone on with.

    Raises:
        RequestError: the file is of another suite, device or program.
    """
    from android_bench.suites.resume import begin
    from evit_mobile.results.record import Suite

    suite = request.suite
    record = Suite(
        name=suite.name,
        title=suite.title,
        figure=suite.figure,
        along=suite.along,
        counts_only=suite.counts_only,
        seed=suite.measure.seed,
        budget_s=request.budget_s,
        interval_percent=suite.measure.interval_percent,
        memory_limit_bytes=limit_bytes,
        sha256=suite.sha256,
    )
    goes_on = request.resume and out.exists()
    before = begin(device, started, ("evit-mobile", *sys.argv[1:]), out if goes_on else None)
    if goes_on and (before.suite is None or before.suite.sha256 != suite.sha256):
        held = f"the suite {before.suite.name} as it was then" if before.suite else "no suite"
        raise RequestError(
            f"{out} holds {held}, not this {suite.name}", hint="give another --out, or --force without --resume"
        )
    return before.evolve(suite=record)


def _convert(request: SuiteRequest, points: Sequence[SuitePoint], limit_bytes: int) -> dict[str, Made]:
    """What came of each point, and of the reference, by the point's name."""
    from converters.batch import Task, convert_all

    suite = request.suite
    tasks = {point.name: Task(point.place.model, point.resolution, suite.counts_only) for point in points}
    if suite.reference is not None and not suite.counts_only:
        tasks[_reference_name(suite)] = Task(suite.reference.model, suite.reference.resolution)
    unique = list(dict.fromkeys(tasks.values()))
    found: dict[Task, Made] = {}
    with progress(f"converting {len(unique)} models") as show:
        for task, made in convert_all(unique, limit_bytes, workers=request.choice.jobs, dask=request.choice.dask):
            found[task] = made
            show(
                f"converting: {len(found)} of {len(unique)} models are done, the last was {task.model}@{task.resolution}"
            )
    return {name: found[task] for name, task in tasks.items()}


def _reference_name(suite: SuiteFile) -> str:
    assert suite.reference is not None
    return f"reference {suite.reference.model}@{suite.reference.resolution}"


Tell = Callable[[str], None]


def _measure_all(lanes: Sequence[Lane], work: Callable[[Lane, Tell, threading.Event], None], total: int) -> None:
    """Every lane at the same time; what the first to fail raised is raised when all have ended."""
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn

    stop = threading.Event()
    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.description}"))
    # Drawn between rounds only: a thread that redraws would run beside what is measured.
    with Progress(
        *columns, console=console, transient=True, auto_refresh=False, disable=not console.is_terminal
    ) as bar:
        tasks = {lane.text: bar.add_task(f"{lane.text}: 0 of {total} points", total=None) for lane in lanes}
        try:
            if len(lanes) == 1:
                work(lanes[0], _teller(bar, tasks[lanes[0].text], lanes[0].text), stop)
                return
            with ThreadPoolExecutor(len(lanes)) as pool:
                try:
                    for future in [
                        pool.submit(work, lane, _teller(bar, tasks[lane.text], lane.text), stop) for lane in lanes
                    ]:
                        future.result()
                except BaseException as error:
                    # A device that fails does not end the others; the user does.
                    if not isinstance(error, EvitMobileError):
                        stop.set()
                    raise
        except (KeyboardInterrupt, EvitMobileError):
            for lane in lanes:
                if lane.results.points:
                    click.echo(
                        f"what was measured so far is in {lane.out}; the same command with --out and --resume goes on",
                        err=True,
                    )
            raise


def _teller(bar: Progress, task: TaskID, name: str) -> Tell:
    return lambda text: bar.update(task, description=f"{name}: {text}", refresh=True)


def _measure(
    lane: Lane,
    request: SuiteRequest,
    points: Sequence[SuitePoint],
    made: dict[str, Made],
    tell: Tell,
    stop: threading.Event,
) -> None:
    """Measure one lane under one setting after the other, with all that there is on disk after each round."""
    from android_bench.suites.adaptive import measure_suite
    from evit_mobile.results.record import save

    plan = request.suite.measure
    end = time.monotonic() + request.budget_s
    order = {
        (point.name, setting): place for place, (setting, point) in enumerate(itertools.product(lane.settings, points))
    }
    for number, setting in enumerate(lane.settings):
        candidates, others = _sorted_out(points, made, lane.limit_bytes, setting)
        before = [
            point
            for point in (*lane.results.points, *lane.results.references)
            if point.settings == setting and point.rounds
        ]
        lane.results = _merged(lane.results, order, others, None)
        save(lane.results, lane.out)
        if not candidates:
            continue
        reference, budget_s = _reference(request.suite, made), (end - time.monotonic()) / (len(lane.settings) - number)
        for state in measure_suite(
            lane.device, candidates, reference, setting, plan, before, budget_s=budget_s, stop=stop
        ):
            lane.results = _merged(lane.results, order, state.points, state.reference)
            save(lane.results, lane.out)
            left = (
                "" if state.left_s is None else f", at most {state.left_s // 60:.0f} min {state.left_s % 60:.0f} s left"
            )
            tell(f"{state.done} of {len(candidates)} points are done{left}")


def _sorted_out(
    points: Sequence[SuitePoint], made: dict[str, Made], limit_bytes: int, settings: RunSettings
) -> tuple[list[Candidate], list[Point]]:
    """What is to be measured, and the points that are not: counted only, too large, or not converted."""
    from android_bench.suites.rounds import Candidate
    from evit_mobile.results.record import Point

    candidates, others = [], []
    for point in points:
        found = made[point.name]
        place = point.place.model_copy(update={"macs": found.macs, "memory_bytes": found.memory_bytes})
        too_large = found.too_large or (found.memory_bytes or 0) > limit_bytes
        if found.path is not None and not too_large:
            candidates.append(
                Candidate(
                    point.name,
                    found.path,
                    str(point.resolution),
                    found.precision,
                    found.ops,
                    found.partitions,
                    found.undelegated_ops,
                    place,
                )
            )
            continue
        error = found.error or (f"needs about {(found.memory_bytes or 0) / 1e9:.2f} GB" if too_large else None)
        others.append(
            Point(
                name=point.name,
                resolution=str(point.resolution),
                settings=settings,
                place=place,
                error=error,
                limit="does not fit" if too_large else None,
            )
        )
    return candidates, others


def _reference(suite: SuiteFile, made: dict[str, Made]) -> Candidate | None:
    from android_bench.suites.rounds import Candidate

    if suite.reference is None:
        return None
    found = made[_reference_name(suite)]
    if found.path is None:
        raise MachineError(f"the {_reference_name(suite)} is not there: {found.error}")
    resolution = str(suite.reference.resolution)
    return Candidate(
        _reference_name(suite),
        found.path,
        resolution,
        found.precision,
        found.ops,
        found.partitions,
        found.undelegated_ops,
    )


def _merged(
    results: ResultSet, order: Mapping[tuple[str, RunSettings], int], points: Sequence[Point], reference: Point | None
) -> ResultSet:
    """``results`` with these points in the places of those of the same name and settings; in the suite's order, its first series first."""
    places = {(point.name, point.settings): point for point in (*results.points, *points)}
    references = {(point.name, point.settings): point for point in (*results.references, *filter(None, [reference]))}
    ordered = sorted(places, key=lambda key: order.get(key, len(order)))
    return results.evolve(points=tuple(places[key] for key in ordered), references=tuple(references.values()))
