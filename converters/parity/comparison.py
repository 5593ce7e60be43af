"""Outputs beside those of the reference, on every stimulus: the rows of a report, and what float32's own rounding says
of them.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from converters.parity.determinism import check_repeats, run_repeatable
from converters.parity.differences import CRITERIA, Criterion, Difference, compare, without_ties
from converters.parity.layout import from_file
from converters.parity.reference import Reference, open_onnx_inputs
from converters.parity.rounding import allowed, largest_values, own_rounding
from converters.parity.stimuli import Stimulus
from evit_mobile.arrays import Array
from evit_mobile.specs import OutputLayout, Precision

#: An integer has the step that its usual values need. Of an output this much weaker, of a black picture in a network
#: that takes 0 to 255, say, it keeps less than the output's own SQNR would ask for; it is judged as if it were so
#: strong.
FAINT_DB = 20.0
#: A runtime's name, whether XNNPACK takes part, and the number of threads; None, None for ONNX Runtime.
Setting = tuple[str, bool | None, int | None]


@dataclass(frozen=True)
class ParityRow:
    """One output of one input under one runtime; ``xnnpack`` and ``threads`` are None for ONNX Runtime.

    ``rounding`` is set where it decided: the row misses the criterion, and is off by no more than some times this,
    which is what the reference's own float32 is off by on this input. So is ``faint_sqnr_db``: the output is fainter
    than ``FAINT_DB`` below what a photograph gives, and this is its SQNR as if it were that strong.
    """

    runtime: str
    xnnpack: bool | None
    threads: int | None
    input: str
    output: str
    difference: Difference
    passed: bool
    rounding: float | None = None
    faint_sqnr_db: float | None = None

    def describe(self) -> str:
        """``litert with XNNPACK, 1 thread, input noise, output logits``."""
        setting = (
            ""
            if self.threads is None
            else f" {'with' if self.xnnpack else 'without'} XNNPACK, {self.threads} thread(s)"
        )
        return f"{self.runtime}{setting}, input {self.input}, output {self.output}"


@dataclass(frozen=True)
class IllConditioned:
    """An output that nothing can be said of on this input: the reference's own rounding in float32 is larger than the
    bound.

    ``relative_error`` is that rounding, relative to the largest value; see ``rounding``. It happens on inputs far from
    what a network was made for, which drive it to values that a rounding in an early layer decides.
    """

    input: str
    output: str
    relative_error: float


@dataclass(frozen=True)
class Comparison:
    """The reference and its outputs by stimulus and name, in its own layout; and the layout of the file's, if the file
    says it.
    """

    reference: Reference
    stimuli: list[Stimulus]
    expected: dict[str, dict[str, Array]]
    layout: OutputLayout | None

    def onnx_rows(self, criterion: Criterion) -> Iterator[ParityRow]:
        """The stock ONNX graph against PyTorch; nothing where ONNX Runtime is the reference itself."""
        if self.reference.source.module is None:
            return
        if any(node.op_type == "QuantizeLinear" for node in self.reference.stock.graph.node):
            # A module that rounds: a value between two steps may go to either.
            criterion = CRITERIA[Precision.INT8]
        run = open_onnx_inputs(self.reference.stock, self.reference.source)
        for stimulus in self.stimuli:
            outputs = dict(zip(self.expected[stimulus.name], run(stimulus.inputs).values(), strict=True))
            yield from self.rows(("onnxruntime", None, None), stimulus, outputs, criterion)

    def rows(
        self, setting: Setting, stimulus: Stimulus, outputs: Mapping[str, Array], criterion: Criterion
    ) -> list[ParityRow]:
        """A row for each output of the reference. Outputs belong together by name; a single one needs no name."""
        expected = self.expected[stimulus.name]
        if len(expected) == len(outputs) == 1:
            outputs = dict(zip(expected, outputs.values()))
        rows = []
        for name, value in expected.items():
            if name in outputs:
                actual = outputs[name] if setting[1] is None else from_file(outputs[name], value.shape, self.layout)
                difference = self._difference(stimulus, value, actual)
            else:
                difference = Difference(failure=f"the file has no output of that name, only {', '.join(outputs)}")
            row = ParityRow(*setting, stimulus.name, name, difference, criterion.holds(difference))
            rows.append(row if row.passed else self._faint(row, criterion))
        return rows

    def _faint(self, row: ParityRow, criterion: Criterion) -> ParityRow:
        """``row``, passed where it is judged by power and holds for an output that is ``FAINT_DB`` below the usual."""
        usual = self.expected.get("photograph", self.expected[self.stimuli[0].name])[row.output]
        strong, weak = (_power_db(value) for value in (usual, self.expected[row.input][row.output]))
        sqnr, below = row.difference.sqnr_db, strong - FAINT_DB - weak
        if criterion.measure != "sqnr_db" or sqnr is None or not below > 0 or sqnr + below < criterion.bound:
            return row
        return dataclasses.replace(row, passed=True, faint_sqnr_db=sqnr + below)

    def rounded(self, rows: list[ParityRow]) -> tuple[list[ParityRow], list[IllConditioned]]:
        """``rows``, with those passed that the reference's own rounding explains; and where that leaves nothing to
        judge.

        Raises:
            RequestError: an ONNX file gives another output at each call, which is no rounding.
        """
        names = {row.input for row in rows if not row.passed}
        roundings = {item.name: self._rounding(item) for item in self.stimuli if item.name in names}
        largest = largest_values(self.expected.values())
        judged: list[ParityRow] = []
        ill_conditioned: dict[tuple[str, str], IllConditioned] = {}
        for row in rows:
            if not row.passed and row.difference.max_abs_error is not None:
                rounding = roundings[row.input][row.output]
                magnitude = float(np.abs(self.expected[row.input][row.output]).max(initial=0))
                verdict = allowed(row.difference, magnitude, rounding, largest[row.output])
                if verdict is None:
                    key = (row.input, row.output)
                    ill_conditioned[key] = IllConditioned(*key, rounding / magnitude)
                elif verdict:
                    difference = dataclasses.replace(row.difference, failure=None)
                    row = dataclasses.replace(row, difference=difference, passed=True, rounding=rounding)
            judged.append(row)
        return judged, list(ill_conditioned.values())

    def _rounding(self, stimulus: Stimulus) -> dict[str, float]:
        expected, source = self.expected[stimulus.name], self.reference.source
        if source.module is None:
            check_repeats(self.reference.run, stimulus.inputs, expected, source.name)
        return own_rounding(self.reference.run, self.reference.double, stimulus.inputs, expected)

    def _difference(self, stimulus: Stimulus, expected: Array, actual: Array) -> Difference:
        """``compare``; of classes without those that float32's own bound leaves undecided."""
        difference = compare(expected, actual)
        if difference.failure is not None or expected.dtype.kind not in "iu" or not difference.relative_error:
            return difference
        scores = self.reference.scores(stimulus.inputs)
        if scores is None:
            return difference
        return compare(expected, without_ties(expected, actual, scores, CRITERIA[Precision.FP32].bound))


def _power_db(value: Array) -> float:
    power = float(np.sum(value.astype(np.float64) ** 2))
    return 10 * math.log10(power) if power > 0 else -math.inf


def compared(reference: Reference, stimuli: list[Stimulus], layout: OutputLayout | None) -> Comparison:
    """The comparison with what ``reference`` gives for ``stimuli``.

    Raises:
        RequestError: the reference is not a function of its input.
    """
    source = reference.source
    if source.module is not None:
        run_repeatable(source.module, list(stimuli[0].inputs.values()), source.outputs, source.name)
    return Comparison(reference, stimuli, {item.name: reference.run(item.inputs) for item in stimuli}, layout)
