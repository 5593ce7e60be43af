"""Converts a model in every precision, measures the files on a device, and chooses."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from android_bench.device import DeviceOptions, kind_of, open_device, open_runtime
from android_bench.suites.resume import begin, sweep
from converters.alternatives import Alternatives, Convert, Runner, on_host
from converters.options import ConvertOptions
from evit_mobile.advice.accuracy import accuracy_of
from evit_mobile.advice.choice import Advice, Option, Requirement, choose
from evit_mobile.campaign import candidate_of
from evit_mobile.errors import DeviceError
from evit_mobile.results.record import ResultSet, RunSettings
from evit_mobile.runtimes import Runtime
from evit_mobile.specs import DEFAULT_MIN_SQNR_DB, Core, Precision
from evit_mobile.tflite.costs import memory_bytes
from evit_mobile.tflite.file import Tflite

if TYPE_CHECKING:
    from android_bench.device import Device

#: An emulated processor runs so many of the inputs: each is a process of its own.
EMULATED_INPUTS = 4


@dataclasses.dataclass(frozen=True)
class Place:
    """Where the files are measured: the device by its name, and how. ``settings`` None takes the device's own."""

    device: str = "host"
    settings: RunSettings | None = None
    options: DeviceOptions = DeviceOptions()


def advise(
    convert: Convert,
    place: Place,
    requirement: Requirement = Requirement(),
    options: ConvertOptions = ConvertOptions(),
    command: Sequence[str] = (),
) -> Advice:
    """Convert in every precision, measure, compare, and choose.

    Args:
        convert: makes the conversions.
        place: what is measured on.
        requirement: what a file has to keep.
        options: of every conversion; its precision and core are not read. Without calibration data int8 is refused,
            and no mix is made.
        command: the argument vector that the results record.

    Raises:
        EvitMobileError: fp32 cannot be made; the device, the data or the calibration cannot be used. Of any other
            precision that is its ``refusal``.
        DeviceError: no file could be run.
    """
    device = open_device(place.device, place.options)
    before = begin(device, datetime.now(UTC), command, None)
    described = before.device
    options = dataclasses.replace(options, core=Core.of(described.abi, described.instruction_sets))
    bound_db = requirement.bound_db or DEFAULT_MIN_SQNR_DB
    with contextlib.ExitStack() as stack:
        files = Alternatives(convert, options, bound_db, stack, _runner(place))
        for list_of in (files.plain, files.mixes):
            for name, wanted in list_of().items():
                place.options.say(f"converting to {name}")
                files.add(name, wanted)
        place.options.say("comparing outputs")
        paths = {name: item.file.path for name, item in files.made.items() if item.file.path is not None}
        accuracy = (
            {} if requirement.data is None else {it: accuracy_of(path, requirement) for it, path in paths.items()}
        )
        results = _measured(device, files, place, before)
    rows = _rows(files, accuracy, results)
    chosen = choose(rows, requirement)
    if chosen is None:
        raise DeviceError(f"no file ran on {place.device}: {rows[0].refusal}")
    report = files.made[Precision.FP32].conversion.report
    figure = next((name for name, _ in accuracy.values()), None)
    words = files.stimuli.words if files.stimuli is not None else ""
    return Advice(report.model, place.device, requirement, rows, chosen, words, figure, results, tuple(report.warnings))


def _runner(place: Place) -> Runner:
    """What compares the files: half precision runs where the device's processor can be emulated, on few inputs."""

    def run(file: Tflite) -> tuple[Runtime, int | None]:
        if file.in_half and kind_of(place.device).runtime_module is not None:
            return open_runtime(place.device, place.options.runtime), EMULATED_INPUTS
        return on_host(file)

    return run


def _rows(files: Alternatives, accuracy: dict[str, tuple[str, float]], results: ResultSet) -> tuple[Option, ...]:
    """An option for each file that was asked for."""
    points = {point.name: point for point in results.points}
    rows = []
    for name, wanted in files.wanted.items():
        point, item = points.get(name), files.made.get(name)
        rows.append(
            Option(
                item.conversion.report.precision if item is not None else wanted.target,
                item.conversion if item is not None else None,
                memory_bytes(item.file.graph) if item is not None else None,
                point,
                item.sqnr_db if item is not None else None,
                accuracy[name][1] if name in accuracy else None,
                files.refusals.get(name) or (point.error if point is not None else None),
                name,
            )
        )
    return tuple(rows)


def _measured(device: Device, files: Alternatives, place: Place, results: ResultSet) -> ResultSet:
    candidates = []
    for name, item in files.made.items():
        assert item.file.path is not None
        candidates.append(candidate_of(name, item.file.path, item.file, place.options.runtime))
    settings = place.settings or kind_of(place.device).settings
    for points in sweep(device, candidates, [settings]):
        done = sum(len(point.rounds) for point in points)
        place.options.say(f"measuring on {place.device}: {done} of {settings.rounds * len(candidates)} rounds")
        results = results.with_points(points)
    return results
