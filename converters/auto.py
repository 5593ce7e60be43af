"""``--precision auto``: of all precisions, and mixes of them, the fastest on a class of core that keeps an SQNR.

Every precision is made and priced (``converters.quantize.prices``), and its outputs are compared with those of fp32 on
calibration inputs that took no part in the calibration. Then come the mixes that could be faster: half precision with
int8 weights in layers, where the core computes in it; and int8 with float ops where int8 costs too much accuracy.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math

from converters.alternatives import Alternative, Alternatives, Convert
from converters.options import ConvertOptions
from converters.quantize.precisions import check_precision
from converters.quantize.prices import price_of, prices_for
from converters.report import Conversion
from evit_mobile.specs import DEFAULT_MIN_SQNR_DB, Precision


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
    bound_db = options.min_sqnr_db or DEFAULT_MIN_SQNR_DB
    with contextlib.ExitStack() as stack:
        files = Alternatives(convert, options, bound_db, stack)
        choice = _Choice(files, options, bound_db)
        for name, wanted in files.plain().items():
            files.add(name, wanted)
        for name, wanted in files.mixes().items():
            if choice.may_be_faster(wanted):
                files.add(name, wanted)
        return choice.made()


class _Choice:
    """The fastest of ``files`` by the prices of a core."""

    def __init__(self, files: Alternatives, options: ConvertOptions, bound_db: float) -> None:
        self._files, self._core, self._bound_db = files, options.core, bound_db
        self._prices = prices_for(options.core)
        self._priced: dict[str, float] = {}

    def may_be_faster(self, mix: ConvertOptions) -> bool:
        """Whether a mix is worth making."""
        # Nothing that keeps more accuracy is faster than the int8 plan that asks for none.
        plain = self._price(str(mix.precision))
        return mix.precision is not Precision.INT8 or plain < self._price(self._best())

    def _price(self, name: str) -> float:
        """Of an inference."""
        if name not in self._priced:
            file = self._files.made[name].file
            self._priced[name] = price_of(file.graph, self._prices, half=file.in_half)
        return self._priced[name]

    def _best(self) -> str:
        held = {name: item for name, item in self._files.made.items() if item.keeps(self._bound_db)}
        return min(held, key=lambda name: (self._price(name), -_sqnr_db(held[name])))

    def made(self) -> Conversion:
        """The best, with the reason in its report."""
        best = self._best()
        conversion = self._files.made[best].conversion
        notes = [f"{name} could not be made: {reason}" for name, reason in self._files.refusals.items()]
        warnings = [*conversion.report.warnings, *notes]
        report = dataclasses.replace(conversion.report, choice=self._reason(best), warnings=warnings)
        return dataclasses.replace(conversion, report=report)

    def _reason(self, best: str) -> str:
        made, bound = self._files.made, f"{self._bound_db:g}"
        if best == Precision.FP32:
            return f"fp32: by the prices of {self._core} no other precision that keeps {bound} dB is faster."
        price, reference = self._price(best), self._price(Precision.FP32)
        kept = f"it keeps {_sqnr_db(made[best]):.1f} dB, where {bound} are asked for"
        priced = f"{price / 1e6:.1f} against {reference / 1e6:.1f} M {self._prices.unit}"
        times = f"{reference / price:.2f} times as fast as fp32 ({priced})"
        sentence = f"{best}: {kept}, and by the prices of {self._core} is {times}."
        faster = [name for name in made if self._price(name) < price]
        if not faster:
            return sentence
        left = min(faster, key=self._price)
        return f"{sentence} {left} would take {self._price(left) / 1e6:.1f} M, but keeps {_sqnr_db(made[left]):.1f} dB."


def _sqnr_db(item: Alternative) -> float:
    return math.inf if item.sqnr_db is None else item.sqnr_db
