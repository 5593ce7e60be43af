"""One model in several precisions, and in mixes of them: the files, what each keeps of fp32, and why there is none."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass, field

from converters.options import ConvertOptions
from converters.parity.sqnr import Outputs, outputs_of, worst_sqnr_db
from converters.quantize.comparison_inputs import Stimuli, stimuli_of
from converters.quantize.prices import prices_for
from converters.report import Conversion
from evit_mobile.errors import EvitMobileError, first_line
from evit_mobile.runtimes import RUNTIMES, Runtime
from evit_mobile.specs import IoType, Precision
from evit_mobile.tflite.file import Tflite

#: Makes the conversion of one model with other options.
Convert = Callable[[ConvertOptions], Conversion]
#: What a file is run by to be compared with fp32, and on how many of the inputs at most; None: all.
Runner = Callable[[Tflite], tuple[Runtime, int | None]]


@dataclass(frozen=True)
class Alternative:
    """A file that could be shipped.

    Attributes:
        conversion: how it was made.
        file: on the disk.
        sqnr_db: of its worst output against fp32; infinite where there is no difference, None where it is unknown.
    """

    conversion: Conversion
    file: Tflite = field(repr=False)
    sqnr_db: float | None

    def keeps(self, bound_db: float) -> bool:
        """Whether nothing shows that it does not keep so many dB."""
        return self.sqnr_db is None or self.sqnr_db >= bound_db


def on_host(file: Tflite) -> tuple[Runtime, int | None]:
    """Runs every file in this process, on all inputs."""
    return RUNTIMES["litert"], None


def plain_options(options: ConvertOptions, precision: Precision) -> ConvertOptions:
    """The conversion in ``precision`` alone."""
    is_int8 = precision is Precision.INT8
    return dataclasses.replace(
        options,
        precision=precision,
        min_sqnr_db=None,
        calibration=options.calibration if is_int8 else None,
        hold_out=is_int8,
        io_type=options.io_type if is_int8 else IoType.FLOAT32,
    )


class Alternatives:
    """The files by name, fp32 the first, and why others could not be made.

    Args:
        convert: makes the conversions.
        options: of each; its precision is not read. Without calibration data int8 is refused, and there are no mixes.
        bound_db: the SQNR that a mix has to keep.
        stack: what the files are on the disk for.
        runner: what compares them.

    Attributes:
        wanted: what was asked for, by name; what could not be made too.
        made: the files.
        refusals: why there is none.
        stimuli: what they are compared on; None until fp32 is made.
    """

    def __init__(
        self,
        convert: Convert,
        options: ConvertOptions,
        bound_db: float,
        stack: contextlib.ExitStack,
        runner: Runner = on_host,
    ) -> None:
        self._convert, self._options, self._bound_db = convert, options, bound_db
        self._stack, self._runner = stack, runner
        self.wanted: dict[str, ConvertOptions] = {}
        self.made: dict[str, Alternative] = {}
        self.refusals: dict[str, str] = {}
        self.stimuli: Stimuli | None = None
        self._expected: list[Outputs] = []

    def plain(self) -> dict[str, ConvertOptions]:
        """Every precision, fp32 first."""
        return {precision: plain_options(self._options, precision) for precision in Precision}

    def mixes(self) -> dict[str, ConvertOptions]:
        """The mixes that may be faster than what keeps the bound: half precision with int8 weights, where the core
        computes in it, and int8 with float ops, where int8 alone does not keep it.
        """
        if self._options.calibration is None:
            return {}
        mixed = dataclasses.replace(self._options, min_sqnr_db=self._bound_db, io_type=IoType.FLOAT32)
        int8 = self.made.get(Precision.INT8)
        bases = [Precision.FP16] if prices_for(self._options.core).half and Precision.FP16 in self.made else []
        bases += [Precision.INT8] if int8 is not None and not int8.keeps(self._bound_db) else []
        return {f"{base} mix": dataclasses.replace(mixed, precision=base) for base in bases}

    def add(self, name: str, wanted: ConvertOptions) -> None:
        """Convert, and compare with fp32; a file that cannot be made is a refusal, unless it is fp32.

        Raises:
            EvitMobileError: fp32 cannot be made, or there is nothing to compare on.
        """
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
        path = self._stack.enter_context(Tflite(conversion.content, conversion.report.model).on_disk())
        file = Tflite.read(path)
        self.made[name] = Alternative(conversion, file, self._sqnr_of(file))

    def _sqnr_of(self, file: Tflite) -> float | None:
        assert file.path is not None
        if self.stimuli is None:
            self.stimuli = stimuli_of(file, self._options.calibration)
            self._expected = outputs_of(file.path, RUNTIMES["litert"], self.stimuli.inputs)
            return math.inf
        runtime, most = self._runner(file)
        outputs = outputs_of(file.path, runtime, self.stimuli.inputs[:most])
        return worst_sqnr_db(self._expected[: len(outputs)], outputs)
