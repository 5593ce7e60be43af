"""Converts a model in every precision, measures the files on a device, and chooses."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from android_bench.device import DeviceOptions, kind_of, open_device, open_runtime
from android_bench.suites.resume import begin, sweep
from converters.options import ConvertOptions
from converters.parity.sqnr import Outputs, outputs_of, worst_sqnr_db
from converters.quantize.comparison_inputs import Stimuli, stimuli_of
from converters.report import Conversion
from evit_mobile.advice.accuracy import accuracy_of
from evit_mobile.advice.choice import Advice, Option, Requirement, choose
from evit_mobile.campaign import candidate_of
from evit_mobile.errors import DeviceError, EvitMobileError, first_line
from evit_mobile.results.record import ResultSet, RunSettings
from evit_mobile.runtimes import RUNTIMES
from evit_mobile.specs import IoType, Precision
from evit_mobile.tflite.costs import memory_bytes
from evit_mobile.tflite.file import Tflite

if TYPE_CHECKING:
    from android_bench.device import Device

#: An emulated processor runs so many of the inputs: each is a process of its own.
EMULATED_INPUTS = 4
#: Converts the model with these options.
Convert = Callable[[ConvertOptions], Conversion]


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
        options: of every conversion; its precision is not read. Without calibration data int8 is refused.
        command: the argument vector that the results record.

    Raises:
        EvitMobileError: fp32 cannot be made; the device, the data or the calibration cannot be used. Of any other
            precision that is its ``refusal``.
        DeviceError: no file could be run.
    """
    device = open_device(place.device, place.options)
    before = begin(device, datetime.now(UTC), command, None)
    made = _converted(convert, options, place.options.say)
    with contextlib.ExitStack() as stack:
        files = {
            precision: Tflite.read(stack.enter_context(Tflite(conversion.content).on_disk()))
            for precision, conversion in made.files.items()
        }
        stimuli = stimuli_of(files[Precision.FP32], options.calibration)
        place.options.say("comparing outputs")
        paths = {precision: file.path for precision, file in files.items() if file.path is not None}
        quality = _Quality(
            _sqnrs(paths, stimuli, place),
            {} if requirement.data is None else {item: accuracy_of(path, requirement) for item, path in paths.items()},
            {precision: memory_bytes(file.graph) for precision, file in files.items()},
        )
        results = _measured(device, files, place, before)
    rows = _rows(made, quality, results)
    chosen = choose(rows, requirement)
    if chosen is None:
        raise DeviceError(f"no file ran on {place.device}: {rows[0].refusal}")
    report = made.files[Precision.FP32].report
    figure = next((name for name, _ in quality.accuracy.values()), None)
    return Advice(
        report.model, place.device, requirement, rows, chosen, stimuli.words, figure, results, tuple(report.warnings)
    )


@dataclasses.dataclass(frozen=True)
class _Made:
    files: dict[Precision, Conversion]
    refusals: dict[Precision, str]


@dataclasses.dataclass(frozen=True)
class _Quality:
    """Of each file its SQNR, name and value of its accuracy, and the memory that it needs."""

    sqnr_db: dict[Precision, float | None]
    accuracy: dict[Precision, tuple[str, float]]
    memory: dict[Precision, int]


def _rows(made: _Made, quality: _Quality, results: ResultSet) -> tuple[Option, ...]:
    """An option for each precision."""
    points = {point.name: point for point in results.points}
    rows = []
    for precision in (item for item in Precision if item in made.files or item in made.refusals):
        point = points.get(precision)
        rows.append(
            Option(
                precision,
                made.files.get(precision),
                quality.memory.get(precision),
                point,
                quality.sqnr_db.get(precision),
                quality.accuracy[precision][1] if precision in quality.accuracy else None,
                made.refusals.get(precision) or (point.error if point is not None else None),
            )
        )
    return tuple(rows)


def _converted(convert: Convert, options: ConvertOptions, say: Callable[[str], None]) -> _Made:
    """The conversion in each precision, or why there is none."""
    made = _Made({}, {})
    for precision in Precision:
        say(f"converting to {precision}")
        is_int8 = precision is Precision.INT8
        wanted = dataclasses.replace(
            options,
            precision=precision,
            calibration=options.calibration if is_int8 else None,
            hold_out=is_int8,
            io_type=options.io_type if is_int8 else IoType.FLOAT32,
        )
        try:
            made.files[precision] = convert(wanted)
        except EvitMobileError as error:
            if precision is Precision.FP32:
                raise
            made.refusals[precision] = first_line(error)
    return made


def _sqnrs(paths: dict[Precision, Path], stimuli: Stimuli, place: Place) -> dict[Precision, float | None]:
    """The SQNR of each file against fp32; a file for half precision runs in it where the device's processor can be
    emulated.
    """
    host = RUNTIMES["litert"]
    reference = outputs_of(paths[Precision.FP32], host, stimuli.inputs)
    answers: dict[Precision, list[Outputs]] = {}
    for precision, path in paths.items():
        if precision is Precision.FP16 and kind_of(place.device).runtime_module is not None:
            emulated = open_runtime(place.device, place.options.runtime)
            answers[precision] = outputs_of(path, emulated, stimuli.inputs[:EMULATED_INPUTS])
        else:
            answers[precision] = outputs_of(path, host, stimuli.inputs)
    return {precision: worst_sqnr_db(reference[: len(values)], values) for precision, values in answers.items()}


def _measured(device: Device, files: dict[Precision, Tflite], place: Place, results: ResultSet) -> ResultSet:
    candidates = []
    for precision, file in files.items():
        assert file.path is not None
        candidates.append(candidate_of(precision, file.path, file, place.options.runtime))
    settings = place.settings or kind_of(place.device).settings
    for points in sweep(device, candidates, [settings]):
        done = sum(len(point.rounds) for point in points)
        place.options.say(f"measuring on {place.device}: {done} of {settings.rounds * len(candidates)} rounds")
        results = results.with_points(points)
    return results
