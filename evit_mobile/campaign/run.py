"""Measuring a suite on several devices at once: open, convert, measure, and keep every result file whole after each
round.

Nothing here prints. A ``Listener`` gets the progress; the results are in the files and in ``Campaign.results``.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from android_bench.device import Device, kind_of, open_device
from android_bench.suites.adaptive import Lineup, State, measure_suite
from android_bench.suites.resume import begin
from android_bench.suites.rounds import Candidate
from android_bench.suites.schema import SuiteFile, SuitePoint
from evit_mobile.campaign.candidates import sort_out
from evit_mobile.campaign.listener import Listener, Silence
from evit_mobile.campaign.options import BenchOptions, SuiteOptions
from evit_mobile.errors import EvitMobileError, MachineError, RequestError
from evit_mobile.files import check_output
from evit_mobile.results.files import file_name, save
from evit_mobile.results.record import Point, ResultSet, RunSettings, Suite

if TYPE_CHECKING:
    from converters.batch import TaskOutcome

#: Part of a device's memory that a model may use by default, and of this machine's free memory if the device runs in
#: it.
SHARE, FREE_SHARE = 0.5, 0.8


@dataclass
class _Lane:
    """One device, its settings, and its result file as it grows."""

    name: str
    device: Device
    settings: list[RunSettings]
    limit_bytes: int
    out: Path
    results: ResultSet


class Campaign:
    """A suite on one or several devices.

    Args:
        suite: what is measured.
        devices: as ``--device`` names them.
        options: settings and output, of every device.
        suite_options: what applies to suites only.
        command: the argument vector that the result files record.
    """

    def __init__(
        self,
        suite: SuiteFile,
        devices: Sequence[str],
        options: BenchOptions = BenchOptions(),
        suite_options: SuiteOptions = SuiteOptions(),
        command: Sequence[str] = (),
    ) -> None:
        self._suite, self._devices, self._options = suite, tuple(devices), options
        self._suite_options, self._command = suite_options, tuple(command)
        self._budget_s = suite_options.budget_s or suite.measure.budget_s
        self._lanes: list[_Lane] = []
        self._outcomes: dict[str, TaskOutcome] = {}

    @property
    def results(self) -> list[tuple[Path, ResultSet]]:
        """The result file of each device with what it holds so far."""
        return [(lane.out, lane.results) for lane in self._lanes]

    def run(self, listener: Listener = Silence()) -> list[tuple[Path, ResultSet]]:
        """Convert and measure; each device's result is on disk after every round.

        Args:
            listener: gets the progress.

        Returns:
            ``results``, complete.

        Raises:
            EvitMobileError: the request is wrong, a device cannot be used, or nothing could be converted. A device that
                fails does not end the others; its error is raised when all have ended.
        """
        points = self._suite.points(self._suite_options.up_to)
        if not points:
            raise RequestError(
                f"the suite {self._suite.name} has no point up to {self._suite_options.up_to:g}", hint="raise --up-to"
            )
        self._lanes = self._open_lanes(datetime.now(UTC))
        self._outcomes = self._convert(points, max(lane.limit_bytes for lane in self._lanes), listener)
        self._measure_all(points, listener)
        return self.results

    def _open_lanes(self, started: datetime) -> list[_Lane]:
        """Every device opened, its file ready to be written and, with ``resume``, read."""
        usual = [Path("results") / f"{self._suite.name}-{file_name(name, started)}" for name in self._devices]
        paths = _result_paths(self._options.out, self._suite.name, self._devices, usual)
        for path in paths:
            if self._options.out is None or len(paths) > 1:
                path.parent.mkdir(parents=True, exist_ok=True)
            check_output(path, force=self._options.force or self._options.resume)
        return [self._open_lane(name, path, started) for name, path in zip(self._devices, paths)]

    def _open_lane(self, name: str, out: Path, started: datetime) -> _Lane:
        options = self._options.device_options(self._suite.measure.run_timeout_s)
        limit = self._suite_options.memory_limit_bytes
        if limit is None and kind_of(name).shares_our_memory:
            limit = _limit_here()
        device = open_device(name, replace(options, memory_limit_bytes=limit))
        limit = limit or _limit_of(device)
        return _Lane(name, device, self._settings(name), limit, out, self._begin(device, out, started, limit))

    def _settings(self, name: str) -> list[RunSettings]:
        plan, options, kind = self._suite.measure, self._options, kind_of(name)
        usual = kind.settings
        rounds = options.rounds or (plan.rounds if kind.has_clock else usual.rounds)
        return [
            RunSettings(
                threads=threads,
                cores=cores,
                runs=options.runs or (plan.runs * rounds if kind.has_clock else usual.runs),
                rounds=rounds,
                warmup_runs=plan.warmup_runs,
                min_time_s=plan.min_time_s * rounds if kind.has_clock and not options.runs else 0,
            )
            for cores in dict.fromkeys(options.cores)
            for threads in dict.fromkeys(options.threads or (kind.suite_threads if cores == "all" else (1,)))
        ]

    def _begin(self, device: Device, out: Path, started: datetime, limit_bytes: int) -> ResultSet:
        """An empty result, or the one to continue.

        Raises:
            RequestError: the file is of another suite, device or program.
        """
        suite = self._suite
        record = Suite(
            name=suite.name,
            title=suite.title,
            figure=suite.figure,
            along=suite.along,
            counts_only=suite.counts_only,
            seed=suite.measure.seed,
            budget_s=self._budget_s,
            interval_percent=suite.measure.interval_percent,
            memory_limit_bytes=limit_bytes,
            sha256=suite.sha256,
        )
        resumed = self._options.resume and out.exists()
        before = begin(device, started, self._command, out if resumed else None)
        if resumed and (before.suite is None or before.suite.sha256 != suite.sha256):
            held = f"the suite {before.suite.name} as it was then" if before.suite else "no suite"
            raise RequestError(
                f"{out} holds {held}, not this {suite.name}", hint="give another --out, or --force without --resume"
            )
        return before.evolve(suite=record)

    def _convert(self, points: Sequence[SuitePoint], limit_bytes: int, listener: Listener) -> dict[str, TaskOutcome]:
        """The outcome of each point's conversion, and of the reference's, by name."""
        from converters.batch import Task, convert_all

        suite, options = self._suite, self._suite_options
        tasks = {point.name: Task(point.place.model, point.resolution, suite.counts_only) for point in points}
        if suite.reference is not None and not suite.counts_only:
            tasks[suite.reference.name] = Task(suite.reference.model, suite.reference.resolution)
        unique = list(dict.fromkeys(tasks.values()))
        outcomes: dict[Task, TaskOutcome] = {}
        with listener.converting(len(unique)) as converted:
            for task, outcome in convert_all(unique, limit_bytes, workers=options.jobs, dask=options.dask):
                outcomes[task] = outcome
                converted(len(outcomes), f"{task.model}@{task.resolution}")
        return {name: outcomes[task] for name, task in tasks.items()}

    def _measure_all(self, points: Sequence[SuitePoint], listener: Listener) -> None:
        """Every lane at the same time; the first error is raised when all have ended."""
        stop = threading.Event()
        with listener.measuring([lane.name for lane in self._lanes], len(points)) as report:

            def measure(lane: _Lane) -> None:
                self._measure(lane, points, lambda total, state: report(lane.name, total, state), stop)

            if len(self._lanes) == 1:
                measure(self._lanes[0])
                return
            with ThreadPoolExecutor(len(self._lanes)) as pool:
                try:
                    for future in [pool.submit(measure, lane) for lane in self._lanes]:
                        future.result()
                except BaseException as error:
                    # A device that fails does not end the others; the user does.
                    if not isinstance(error, EvitMobileError):
                        stop.set()
                    raise

    def _measure(
        self,
        lane: _Lane,
        points: Sequence[SuitePoint],
        report: Callable[[int, State], None],
        stop: threading.Event,
    ) -> None:
        """Measure one lane under one setting after the other; after each round the file holds everything so far."""
        end = time.monotonic() + self._budget_s
        keys = itertools.product(lane.settings, points)
        order = {(point.name, setting): position for position, (setting, point) in enumerate(keys)}
        for number, setting in enumerate(lane.settings):
            candidates, others = sort_out(points, self._outcomes, lane.limit_bytes, setting)
            everything = (*lane.results.points, *lane.results.references)
            before = [point for point in everything if point.settings == setting and point.rounds]
            lane.results = _merged(lane.results, order, others, None)
            save(lane.results, lane.out)
            if not candidates:
                continue
            budget_s = (end - time.monotonic()) / (len(lane.settings) - number)
            lineup = Lineup(candidates, self._reference(), before)
            states = measure_suite(lane.device, lineup, setting, self._suite.measure, budget_s=budget_s, stop=stop)
            for state in states:
                lane.results = _merged(lane.results, order, state.points, state.reference)
                save(lane.results, lane.out)
                report(len(candidates), state)

    def _reference(self) -> Candidate | None:
        reference = self._suite.reference
        if reference is None:
            return None
        outcome = self._outcomes[reference.name]
        if outcome.path is None:
            raise MachineError(f"the {reference.name} could not be converted: {outcome.error}")
        return Candidate(reference.name, outcome.path, str(reference.resolution), outcome.content)


def _result_paths(out: Path | None, suite: str, devices: Sequence[str], usual: list[Path]) -> list[Path]:
    """One result file per device: ``out`` itself for one device, a file in the folder ``out`` for several, else
    ``usual``.

    Raises:
        RequestError: there are several devices and ``out`` is not a folder.
    """
    import re

    if out is None:
        return usual
    if len(devices) == 1:
        return [out]
    if out.suffix == ".json" or out.is_file():
        raise RequestError(
            f"{out} would be one file, and there are {len(devices)} devices", hint="name a folder by --out"
        )
    return [out / f"{suite}-{re.sub(r'[^A-Za-z0-9._]+', '-', device)}.json" for device in devices]


def _limit_here() -> int:
    """Bytes that a model may use by default in this machine's memory."""
    import psutil

    memory = psutil.virtual_memory()
    return min(int(memory.total * SHARE), int(memory.available * FREE_SHARE))


def _limit_of(device: Device) -> int:
    """Bytes that a model may use by default in the device's own memory; one that does not report it is taken to have
    as much as this machine.
    """
    import psutil

    return int((device.describe().memory_bytes or psutil.virtual_memory().total) * SHARE)


def _merged(
    results: ResultSet, order: Mapping[tuple[str, RunSettings], int], points: Sequence[Point], reference: Point | None
) -> ResultSet:
    """``results`` with these points in place of those of the same name and settings; in the suite's order, its first
    series first.
    """
    by_key = {(point.name, point.settings): point for point in (*results.points, *points)}
    references = {(point.name, point.settings): point for point in (*results.references, *filter(None, [reference]))}
    ordered = sorted(by_key, key=lambda key: order.get(key, len(order)))
    return results.evolve(points=tuple(by_key[key] for key in ordered), references=tuple(references.values()))
