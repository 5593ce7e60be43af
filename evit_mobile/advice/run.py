"""Converts a model in every precision, measures the files on a device, and chooses."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from android_bench.device import DeviceOptions, kind_of, open_device, open_runtime
from android_bench.suites.resume import begin, sweep
from converters.auto import plain_options
from converters.options import ConvertOptions
from converters.parity.sqnr import Outputs, outputs_of, worst_sqnr_db
from converters.quantize.comparison_inputs import Stimuli, stimuli_of
from converters.quantize.prices import prices_for
from converters.report import Conversion
from evit_mobile.advice.accuracy import accuracy_of
from evit_mobile.advice.choice import Advice, Option, Requirement, choose
from evit_mobile.campaign import candidate_of
from evit_mobile.errors import DeviceError, EvitMobileError, first_line
from evit_mobile.results.record import ResultSet, RunSettings
from evit_mobile.runtimes import RUNTIMES
from evit_mobile.specs import DEFAULT_MIN_SQNR_DB, Core, IoType, Precision
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
    with contextlib.ExitStack() as stack:
        made = _Made(convert, place, requirement, options, stack)
        for precision in Precision:
            made.add(precision, plain_options(options, precision))
        for name, wanted in made.mixes().items():
            made.add(name, wanted)
        place.options.say("comparing outputs")
        paths = {name: file.path for name, file in made.files.items() if file.path is not None}
        accuracy = (
            {} if requirement.data is None else {it: accuracy_of(path, requirement) for it, path in paths.items()}
        )
        results = _measured(device, made.files, place, before)
    rows = _rows(made, accuracy, results)
    chosen = choose(rows, requirement)
    if chosen is None:
        raise DeviceError(f"no file ran on {place.device}: {rows[0].refusal}")
    report = made.conversions[Precision.FP32].report
    figure = next((name for name, _ in accuracy.values()), None)
    words = made.stimuli.words if made.stimuli is not None else ""
    return Advice(report.model, place.device, requirement, rows, chosen, words, figure, results, tuple(report.warnings))


class _Made:
    """The files by name, fp32 the first, or why there is none; and the SQNR of each.

    Args:
        convert, place, requirement, options: as ``advise`` takes them.
        stack: what the files are on the disk for.
    """

    def __init__(
        self,
        convert: Convert,
        place: Place,
        requirement: Requirement,
        options: ConvertOptions,
        stack: contextlib.ExitStack,
    ) -> None:
        self._convert, self._place, self._options, self._stack = convert, place, options, stack
        self._bound_db = requirement.bound_db or DEFAULT_MIN_SQNR_DB
        self.wanted: dict[str, ConvertOptions] = {}
        self.conversions: dict[str, Conversion] = {}
        self.files: dict[str, Tflite] = {}
        self.sqnr_db: dict[str, float | None] = {}
        self.refusals: dict[str, str] = {}
        self.stimuli: Stimuli | None = None
        self._expected: list[Outputs] = []

    def add(self, name: str, wanted: ConvertOptions) -> None:
        """Convert, and compare with fp32."""
        self._place.options.say(f"converting to {name}")
        self.wanted[name] = wanted
        try:
            conversion = self._convert(wanted)
        except EvitMobileError as error:
            if name == Precision.FP32:
                raise
            self.refusals[name] = first_line(error)
            return
        if name not in Precision and conversion.report.precision in (Precision.FP32, Precision.FP16):
            del self.wanted[name]  # a mix in which nothing is int8 is that precision's own file
            return
        self.conversions[name] = conversion
        file = Tflite.read(self._stack.enter_context(Tflite(conversion.content).on_disk()))
        self.files[name] = file
        self.sqnr_db[name] = self._sqnr_of(file)

    def _sqnr_of(self, file: Tflite) -> float | None:
        """Against fp32; a file for half precision runs in it where the device's processor can be emulated."""
        assert file.path is not None
        host = RUNTIMES["litert"]
        if self.stimuli is None:
            self.stimuli = stimuli_of(file, self._options.calibration)
            self._expected = outputs_of(file.path, host, self.stimuli.inputs)
            return math.inf
        inputs, runtime = self.stimuli.inputs, host
        if (
            file.description is not None
            and file.description.in_half
            and kind_of(self._place.device).runtime_module is not None
        ):
            inputs, runtime = inputs[:EMULATED_INPUTS], open_runtime(self._place.device, self._place.options.runtime)
        outputs = outputs_of(file.path, runtime, inputs)
        return worst_sqnr_db(self._expected[: len(outputs)], outputs)

    def mixes(self) -> dict[str, ConvertOptions]:
        """The mixes that may be faster than what keeps the bound: half precision with int8 weights, where the core
        computes in it, and int8 with float ops, where int8 alone does not keep it.
        """
        if self._options.calibration is None:
            return {}
        mixed = dataclasses.replace(self._options, min_sqnr_db=self._bound_db, io_type=IoType.FLOAT32)
        int8 = self.sqnr_db.get(Precision.INT8)
        bases = [Precision.FP16] if prices_for(self._options.core).half and Precision.FP16 in self.files else []
        bases += [Precision.INT8] if int8 is not None and int8 < self._bound_db else []
        return {f"{base} mix": dataclasses.replace(mixed, precision=base) for base in bases}


def _rows(made: _Made, accuracy: dict[str, tuple[str, float]], results: ResultSet) -> tuple[Option, ...]:
    """An option for each file that was asked for."""
    points = {point.name: point for point in results.points}
    rows = []
    for name, wanted in made.wanted.items():
        point = points.get(name)
        conversion = made.conversions.get(name)
        rows.append(
            Option(
                conversion.report.precision if conversion is not None else wanted.target,
                conversion,
                memory_bytes(made.files[name].graph) if name in made.files else None,
                point,
                made.sqnr_db.get(name),
                accuracy[name][1] if name in accuracy else None,
                made.refusals.get(name) or (point.error if point is not None else None),
                name,
            )
        )
    return tuple(rows)


def _measured(device: Device, files: dict[str, Tflite], place: Place, results: ResultSet) -> ResultSet:
    candidates = []
    for name, file in files.items():
        assert file.path is not None
        candidates.append(candidate_of(name, file.path, file, place.options.runtime))
    settings = place.settings or kind_of(place.device).settings
    for points in sweep(device, candidates, [settings]):
        done = sum(len(point.rounds) for point in points)
        place.options.say(f"measuring on {place.device}: {done} of {settings.rounds * len(candidates)} rounds")
        results = results.with_points(points)
    return results
