"""What ``convert`` made is checked before anybody gets it: it loads, it runs, and it computes what the exported graph
computes.

Where it does not, onnx2tf's own rewrites are left out, then the passes that changed the graph, until it does; what then
still differs is refused.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from converters.parity.differences import CRITERIA, Criterion
from converters.parity.expected import Case, Expected, is_small
from converters.parity.in_half import first_lost, rounded_to_half
from converters.parity.layout import arrays_for, from_file
from converters.parity.stimuli import graph_stimuli
from converters.passes.base import PassReport
from converters.quantize.encoded import remedy
from converters.tflite.postprocess import without_detections
from evit_mobile.arrays import Array
from evit_mobile.errors import ClaimError, EvitMobileError, first_line
from evit_mobile.runtimes import RUNTIMES, Session
from evit_mobile.specs import Pixels, Precision
from evit_mobile.tflite.file import Tflite

if TYPE_CHECKING:
    import onnx

_FP32 = CRITERIA[Precision.FP32]
#: Times the bound of fp16 that its files may be off by here. Every weight is rounded, an attention has a lower bound
#: in place of an epsilon that fp16 would take for 0, and noise and zeros are far from what a network was trained on: a
#: right file may pass the bound there. What goes wrong in fp16, a value beyond its range or an epsilon that is 0, is
#: off by more; ``verify`` judges by the bound itself, on photographs too.
_HALF_MARGIN = 5
_HALF = dataclasses.replace(CRITERIA[Precision.FP16], bound=_HALF_MARGIN * CRITERIA[Precision.FP16].bound)
_NO_CHECK = "--no-check writes it all the same"


@dataclass(frozen=True)
class Attempt:
    """A graph after the passes, their reports, and the float32 model that it was lowered to."""

    graph: onnx.ModelProto
    passes: list[PassReport]
    lowered: Tflite


#: Stands among the names of passes for the rewrites that onnx2tf makes of what it has lowered.
REWRITES = "onnx2tf-rewrites"
#: Makes an attempt without the passes of these names.
Make = Callable[[frozenset[str]], Attempt]


def right_attempt(make: Make, expected: Expected, precision: Precision = Precision.FP32) -> tuple[Attempt, list[str]]:
    """The first attempt that computes what is expected: with every pass, or without onnx2tf's rewrites, or without the
    passes to blame too; and a warning of the passes left out.

    Args:
        make: makes the attempts.
        expected: what the network computes.
        precision: what the graph is made for. One for fp16 is held to fp16's criterion, all others to fp32's.

    Raises:
        ClaimError: none does; the message names the op or the tensor that parts first.
        RequestError: the network cannot be lowered, or is not a function of its input.
        MachineError: see ``Lowering.lower``.
    """
    search = _Search(make, expected, _HALF if precision is Precision.FP16 else _FP32)
    fault = search.fault(frozenset())
    if fault is None:
        return search.attempts[frozenset()], []
    left_out = search.culprits()
    if left_out is None:
        raise search.refusal(fault)
    passes = sorted(left_out - {REWRITES})
    if not passes:
        return search.attempts[left_out], []
    names = ", ".join(passes)
    what = f"the pass {names} is" if len(passes) == 1 else f"the passes {names} are"
    return search.attempts[left_out], [f"{what} left out, since with it the file is wrong: {fault}"]


def check_finished(
    model: Tflite, precision: Precision, expected: Expected, calibration: Array | None, *, half: bool = False
) -> list[str]:
    """Check the file that is to be written, whose float32 form is right already: by the criterion of its own precision.

    In float32 it differs from that form by its metadata alone, so it has to load and no more, unless it takes bytes.

    Args:
        model: the finished file.
        precision: its precision.
        expected: what the network computes.
        calibration: an image, NHWC, that the model was calibrated on: int8 knows no other ranges.
        half: processors may compute what is float in half precision.

    Returns:
        A line on an output that passes here, and that ``verify`` will not pass.

    Raises:
        ClaimError: it does not load, does not run, or is too far from its source.
    """
    as_before = precision is Precision.FP32 and expected.source.ends.pixels is not Pixels.UINT8
    cases = [] if as_before else list(expected.cases()[:1])
    if calibration is not None:
        image = np.ascontiguousarray(np.moveaxis(calibration, -1, 1))
        cases = [expected.case("a calibration image", {name: image for name in cases[0].inputs})]
    compared = without_detections(model)
    criterion = _HALF if precision is Precision.FP16 else CRITERIA[precision]
    fault = _fault(compared, expected, cases, criterion)
    if fault is None and compared is not model:
        fault = _fault(model, expected, [], CRITERIA[precision])
    doubts: list[str] = []
    if fault is None and half:
        half_cases = _half_cases(expected) if calibration is None else _affordable(cases)
        fault, doubts = _half_fault(compared, expected, half_cases, (criterion, CRITERIA[precision]))
    if fault is not None:
        hint = "; ".join(filter(None, (remedy(model), _NO_CHECK)))
        raise ClaimError(f"{model.name} cannot be converted to {precision}: {fault}", hint=hint)
    return doubts


class _Search:
    """Attempts by the names of the passes that were left out, and what is wrong with each."""

    def __init__(self, make: Make, expected: Expected, criterion: Criterion) -> None:
        self._make, self._expected, self._criterion = make, expected, criterion
        self.attempts: dict[frozenset[str], Attempt] = {}
        self._faults: dict[frozenset[str], str | None] = {}
        self._error: EvitMobileError | None = None

    def fault(self, left_out: frozenset[str]) -> str | None:
        """What is wrong without these passes; None if nothing is."""
        if left_out not in self._faults:
            self._faults[left_out] = self._tried(left_out)
        return self._faults[left_out]

    def _tried(self, left_out: frozenset[str]) -> str | None:
        try:
            attempt = self._make(left_out)
        except EvitMobileError as error:
            self._expected.cases()  # a network that is no function of its input is refused as such, lowered or not
            self._error = self._error or error
            return first_line(error)
        self.attempts[left_out] = attempt
        return _fault(attempt.lowered, self._expected, self._expected.cases(), self._criterion)

    def culprits(self) -> frozenset[str] | None:
        """What the file is right without: onnx2tf's rewrites alone, or with one pass where possible, else with the
        first pass that turns it wrong and all after it.
        """
        rewrites = frozenset({REWRITES})
        if self.fault(rewrites) is None:
            return rewrites
        attempt = self.attempts.get(rewrites) or self.attempts.get(frozenset())
        fired = [report.name for report in attempt.passes if report.fired] if attempt else []
        if not fired:
            return None

        def without(names: list[str]) -> frozenset[str]:
            return rewrites.union(names)

        if self.fault(without(fired)) is not None:
            # Wrong without any: one of them may be what the lowering needs, another what it cannot bear.
            return next((alone for name in fired if self.fault(alone := without([name])) is None), None)
        right, wrong = 0, len(fired)  # so many of the first passes give a right file, so many a wrong one
        while wrong - right > 1:
            middle = (right + wrong) // 2
            right, wrong = (middle, wrong) if self.fault(without(fired[middle:])) is None else (right, middle)
        alone = without([fired[right]])
        return alone if self.fault(alone) is None else without(fired[right:])

    def refusal(self, fault: str) -> EvitMobileError:
        """The error for a network that comes out wrong in every way."""
        attempt = self.attempts.get(frozenset())
        if attempt is None and self._error is not None:
            return self._error
        where = "" if attempt is None else _parting(attempt, self._expected)
        return ClaimError(f"{self._expected.source.name} comes out wrong: {fault}{where}", hint=_NO_CHECK)


def _fault(model: Tflite, expected: Expected, cases: Sequence[Case], criterion: Criterion) -> str | None:
    """What is wrong with a file, with XNNPACK or without; both run it at the same time."""
    settings = {True: cases, False: _affordable(cases)}
    with model.on_disk() as path, ThreadPoolExecutor(len(settings)) as pool:
        runs = {xnnpack: pool.submit(_run, path, xnnpack, some) for xnnpack, some in settings.items()}
        for xnnpack, some in settings.items():
            setting = f"{'with' if xnnpack else 'without'} XNNPACK"
            try:
                outputs = runs[xnnpack].result()
            except (EvitMobileError, RuntimeError, ValueError) as error:
                words = first_line(error).replace(str(path), "the file")  # whose name is gone with it
                return f"LiteRT cannot run it {setting}: {words}"
            for case, actual in zip(some, outputs):
                fault = _case_fault(actual, expected, case, criterion)
                if fault is not None:
                    return f"{setting}, {fault}"
    return None


def _half_cases(expected: Expected) -> list[Case]:
    """All stimuli of any network, since a flat picture loses squares that noise keeps; none of large inputs, of whose
    values the ops that round hold several copies: those of a 1024x2048 image took 14 GB.
    """
    if not is_small(expected.cases()[0].inputs):
        return []
    return [expected.case(item.name, item.inputs) for item in graph_stimuli(expected.source, expected.stock)]


def _half_fault(
    model: Tflite, expected: Expected, cases: Sequence[Case], criteria: tuple[Criterion, Criterion]
) -> tuple[str | None, list[str]]:
    """What is wrong with a file in half precision by the first criterion; else a line on what is by the second."""
    if not cases:
        return None, []
    rounded, doubts = rounded_to_half(model), []
    with rounded.on_disk() as path, RUNTIMES["litert"].open(path, threads=_threads()) as session:
        for case in cases:
            outputs = _outputs(session, case)
            doubt = _case_fault(outputs, expected, case, criteria[1])
            if doubt is None:  # the second criterion is no wider than the first
                continue
            fault = _case_fault(outputs, expected, case, criteria[0], in_half=True)
            if fault is not None:
                lost = first_lost(model, rounded, case.inputs, criteria[0].bound)
                return f"in half precision, {fault}" + (f"; {lost} parts first" if lost else ""), []
            doubts.append(f"in half precision, {doubt}; it is written, and verify will not pass it")
    return None, doubts[:1]


def _affordable(cases: Sequence[Case]) -> Sequence[Case]:
    """The cases that kernels without XNNPACK run in a moment; of others they are only prepared."""
    return [case for case in cases[:1] if is_small(case.inputs)]


def _threads() -> int:
    return min(4, os.cpu_count() or 1)


def _run(path: Path, xnnpack: bool, cases: Sequence[Case]) -> list[dict[str, Array]]:
    """The outputs of each case by name."""
    with RUNTIMES["litert"].open(path, threads=_threads(), xnnpack=xnnpack) as session:
        return [_outputs(session, case) for case in cases]


def _outputs(session: Session, case: Case) -> dict[str, Array]:
    values = session.run(arrays_for(session.inputs, case.inputs))
    return {name: info.dequantise(value) for name, info, value in zip(session.output_names(), session.outputs, values)}


def _case_fault(
    actual: dict[str, Array], expected: Expected, case: Case, criterion: Criterion, *, in_half: bool = False
) -> str | None:
    if len(case.outputs) == len(actual) == 1:
        actual = dict(zip(case.outputs, actual.values()))
    for name, reference in case.outputs.items():
        if name not in actual:
            return f"there is no output {name}"
        difference = expected.difference(case, name, from_file(actual[name], reference.shape, expected.layout))
        if expected.contradicts(case, name, difference, criterion):
            if in_half and expected.explained_by_half(case, name, difference):
                continue
            return f"output {name} on {case.name}: {difference.failure or criterion.figure(difference)}"
    return None


def _parting(attempt: Attempt, expected: Expected) -> str:
    """``; LAYER parts first, at op …`` where that can be found."""
    from converters.parity.layers import find_parting_layer
    from converters.parity.reference import Reference
    from converters.parity.stimuli import Stimulus

    noise = expected.cases()[0]
    reference = Reference(expected.source, expected.stock)
    stimulus = Stimulus(noise.name, noise.inputs)
    rewritten = any(report.fired for report in attempt.passes)
    try:
        with attempt.lowered.on_disk() as path:
            layers = find_parting_layer(path, reference, stimulus, _FP32.bound, failed=True, rewritten=rewritten)
    except (EvitMobileError, RuntimeError, ValueError):
        return ""  # a file that does not run has no values to compare; the fault says which op it was
    return f"; {layers.parted} parts first, at {layers.op}" if layers.parted is not None else ""
