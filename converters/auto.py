"""``--precision auto``: of all precisions, and mixes of them, the fastest on a class of core that keeps an SQNR.

Every precision is made and priced (``converters.quantize.prices``), and its outputs are compared with those of fp32 on
calibration inputs that took no part in the calibration. Then come the mixes that could be faster: half precision with
int8 weights in layers, where the core computes in it; and int8 with float ops where int8 costs too much accuracy.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass

from converters.options import ConvertOptions
from converters.parity.sqnr import Outputs, outputs_of, worst_sqnr_db
from converters.quantize.comparison_inputs import stimuli_of
from converters.quantize.precisions import check_precision
from converters.quantize.prices import price_of, prices_for
from converters.report import Conversion
from evit_mobile.arrays import Array
from evit_mobile.errors import EvitMobileError, first_line
from evit_mobile.runtimes import RUNTIMES
from evit_mobile.specs import DEFAULT_MIN_SQNR_DB, IoType, Precision
from evit_mobile.tflite.file import Tflite

#: Makes the conversion of one model with other options.
Convert = Callable[[ConvertOptions], Conversion]


@dataclass(frozen=True)
class Candidate:
    """A file that could be chosen. ``price`` is of an inference, ``sqnr_db`` against fp32, infinite for fp32 itself."""

    conversion: Conversion
    price: float
    sqnr_db: float

    @property
    def name(self) -> str:
        """Its precision, and that of what is not quantised where that is not fp32."""
        report = self.conversion.report
        description = Tflite(self.conversion.content, report.model).description
        mixed = report.precision is not Precision.FP16 and description is not None and description.in_half
        return f"{report.precision} over fp16" if mixed else str(report.precision)


def convert_fastest(convert: Convert, options: ConvertOptions) -> Conversion:
    """The fastest file that keeps ``options.min_sqnr_db``, with the reason in its report.

    Args:
        convert: makes the conversions.
        options: of each; its precision is not read.

    Raises:
        RequestError: there are no calibration data, or they cannot be used.
        EvitMobileError: fp32 cannot be made.
    """
    check_precision(dataclasses.replace(options, precision=None))
    choice = _Choice(convert, options)
    for precision in Precision:
        choice.add(plain_options(options, precision))
    for precision in (Precision.FP16, Precision.INT8):
        if choice.may_be_faster_in(precision):
            choice.add(dataclasses.replace(options, precision=precision))
    return choice.made()


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


class _Choice:
    """The candidates so far."""

    def __init__(self, convert: Convert, options: ConvertOptions) -> None:
        self._convert, self._options, self._prices = convert, options, prices_for(options.core)
        self._inputs: list[list[Array]] = []
        self._expected: list[Outputs] = []
        self._plain: dict[Precision, Candidate] = {}
        self._candidates: list[Candidate] = []
        self._refusals: dict[Precision, str] = {}

    @property
    def bound_db(self) -> float:
        return self._options.min_sqnr_db or DEFAULT_MIN_SQNR_DB

    def add(self, wanted: ConvertOptions) -> None:
        """Make, price and compare a file; one that cannot be made is left out, unless it is fp32."""
        assert wanted.precision is not None
        try:
            conversion = self._convert(wanted)
        except EvitMobileError as error:
            if wanted.precision is Precision.FP32:
                raise
            self._refusals[wanted.precision] = first_line(error)
            return
        file = Tflite(conversion.content, conversion.report.model)
        half = wanted.precision is Precision.FP16
        candidate = Candidate(conversion, price_of(file.graph, self._prices, half=half), self._sqnr(file))
        self._candidates.append(candidate)
        if wanted.min_sqnr_db is None:
            self._plain[wanted.precision] = candidate

    def _sqnr(self, file: Tflite) -> float:
        if not self._candidates:
            self._inputs = stimuli_of(file, self._options.calibration).inputs
        with file.on_disk() as path:
            outputs = outputs_of(path, RUNTIMES["litert"], self._inputs)
        if not self._candidates:
            self._expected = outputs
            return math.inf
        measured = worst_sqnr_db(self._expected, outputs)
        return math.inf if measured is None else measured

    def may_be_faster_in(self, precision: Precision) -> bool:
        """Whether a mix of ``precision`` with int8 weights is worth making."""
        if precision is Precision.FP16:
            return self._prices.half and precision in self._plain
        # Nothing that keeps more accuracy is faster than the plan that asks for none.
        plain = self._plain.get(precision)
        return plain is not None and plain.sqnr_db < self.bound_db and plain.price < self._best().price

    def _best(self) -> Candidate:
        held = [item for item in self._candidates if item.sqnr_db >= self.bound_db]
        return min(held, key=lambda item: (item.price, -item.sqnr_db))

    def made(self) -> Conversion:
        """The best, with the reason in its report."""
        best = self._best()
        report = best.conversion.report
        notes = [f"{precision} could not be made: {reason}" for precision, reason in self._refusals.items()]
        report = dataclasses.replace(report, choice=self._reason(best), warnings=[*report.warnings, *notes])
        return dataclasses.replace(best.conversion, report=report)

    def _reason(self, best: Candidate) -> str:
        reference = self._candidates[0]
        if best is reference:
            core = self._options.core
            return f"fp32: by the prices of {core} no other precision that keeps {self.bound_db:g} dB is faster."
        kept = f"it keeps {best.sqnr_db:.1f} dB, where {self.bound_db:g} are asked for"
        times = f"{reference.price / best.price:.2f} times as fast as fp32"
        priced = f"{best.price / 1e6:.1f} against {reference.price / 1e6:.1f} M {self._prices.unit}"
        sentence = f"{best.name}: {kept}, and by the prices of {self._options.core} is {times} ({priced})."
        faster = [item for item in self._plain.values() if item.price < best.price]
        if not faster:
            return sentence
        left = min(faster, key=lambda item: item.price)
        return f"{sentence} {left.name} would take {left.price / 1e6:.1f} M, but keeps {left.sqnr_db:.1f} dB."
