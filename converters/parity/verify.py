"""Parity: the same inputs through PyTorch, ONNX Runtime and every TFLite runtime, each output judged on its own."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from converters.parity.differences import CRITERIA, Criterion, Difference, compare, without_ties
from converters.parity.layers import LayerReport, find_parting_layer
from converters.parity.reference import Reference, Request, build_reference, open_onnx
from converters.parity.stimuli import Stimulus, verification_stimuli
from evit_mobile.errors import CrashingFileError, EvitMobileError, RequestError, first_line
from evit_mobile.runtimes import RUNTIMES, Runtime, Session
from evit_mobile.specs import Precision
from evit_mobile.tflite.description import read_description
from evit_mobile.tflite.graph import read_graph

Array = NDArray[Any]
#: Largest relative error of an integer model's values that are taken for the reference's: some steps of int8 out of 255.
INTEGER_TOLERANCE = 0.15


@dataclass(frozen=True)
class ParityRow:
    """One output of one input under one runtime; ``xnnpack`` and ``threads`` are None for ONNX Runtime."""

    runtime: str
    xnnpack: bool | None
    threads: int | None
    input: str
    output: str
    difference: Difference
    passed: bool

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
    """An output that nothing can be said of on this input: PyTorch's own float32 is further from its float64 than the bound allows.

    ``relative_error`` is between those two. It happens on inputs far from what a network was made for, which drive it to values that a
    rounding in an early layer decides.
    """

    input: str
    output: str
    relative_error: float


@dataclass(frozen=True)
class RuntimeState:
    """A runtime that was asked for: its version, None where it is not installed, and why it could not run the model, if so."""

    name: str
    version: str | None
    error: str | None = None


@dataclass(frozen=True)
class ParityReport:
    """The whole comparison. ``reference`` is the framework that every row is judged by."""

    file: str
    model: str
    resolution: str
    precision: str
    reference: str
    criterion: Criterion
    inputs: list[str]
    runtimes: list[RuntimeState]
    rows: list[ParityRow]
    layers: LayerReport | None = None
    ill_conditioned: list[IllConditioned] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Every row that can be judged passed, there are such of every output, and every installed runtime could run the model."""
        judged = self.judged()
        every_output = {row.output for row in judged} == {row.output for row in self.rows}
        return every_output and all(row.passed for row in judged) and not any(state.error for state in self.runtimes)

    def judged(self) -> list[ParityRow]:
        """Rows of inputs on which the reference itself is good enough; a row that failed whatever the bound is always one."""
        left_out = {(item.input, item.output) for item in self.ill_conditioned}
        return [
            row for row in self.rows if row.difference.failure is not None or (row.input, row.output) not in left_out
        ]

    def worst(self) -> ParityRow:
        """The judged row furthest from its reference; one with a failure of its own comes first."""
        rows = self.judged() or self.rows
        return max(
            rows,
            key=lambda row: (row.difference.failure is not None, not row.passed, row.difference.relative_error or 0.0),
        )

    def to_json(self) -> dict[str, Any]:
        """Plain values, rows flattened."""
        document = dataclasses.asdict(self)
        rows = document.pop("rows")
        for row in rows:
            row.update(row.pop("difference"))
        return {"passed": self.passed, **document, "rows": rows}


def verify_model(
    path: Path,
    request: Request = Request(),
    *,
    runtimes: Sequence[Runtime] = (RUNTIMES["litert"],),
    image: Path | None = None,
    layers: bool = False,
) -> ParityReport:
    """Compare the .tflite at ``path`` with what it was made from.

    Args:
        request: what the file cannot say of its source itself, see ``Request``.
        runtimes: one that is not installed is listed as such and not counted.
        image: takes the place of the bundled photograph.
        layers: also find the first layer where the file parts from its source.

    Raises:
        RequestError: the file, the image or the request cannot be used.
    """
    description = read_description(path)
    precision = Precision(description.precision) if description else Precision.FP32
    criterion = CRITERIA[precision]
    if len(runtimes) == 1 and runtimes[0].version() is not None:
        # With nothing to compare it to, a file that cannot be loaded is a wrong request, not a model without parity.
        with runtimes[0].open(path):
            pass
    reference = build_reference(path, description, request)
    stimuli = verification_stimuli(reference.resolution, reference.channels, reference.preprocessing, image=image)
    _check_input(path, stimuli[0])
    expected = {stimulus.name: reference.run(_nchw(stimulus.image)) for stimulus in stimuli}
    rows = list(_onnx_rows(reference, stimuli, expected, CRITERIA[Precision.FP32]))
    states = []
    for runtime in runtimes:
        state, found = _runtime_rows(path, runtime, reference, stimuli, expected, criterion)
        states.append(state)
        rows += found
    report = ParityReport(
        str(path),
        reference.source.name,
        str(reference.resolution),
        precision,
        reference.name,
        criterion,
        [stimulus.name for stimulus in stimuli],
        states,
        rows,
        ill_conditioned=list(_ill_conditioned(reference, stimuli, expected, rows)),
    )
    if not layers:
        return report
    rewritten = description is None or description.rewrite
    return dataclasses.replace(report, layers=_layers(path, reference, stimuli, report, rewritten))


def _layers(
    path: Path, reference: Reference, stimuli: list[Stimulus], report: ParityReport, rewritten: bool
) -> LayerReport:
    """Noise tells layers apart best; where only another input shows the fault, that one."""
    failed = [row.input for row in report.judged() if not row.passed and row.threads is not None]
    chosen = stimuli[0].name if not failed or stimuli[0].name in failed else report.worst().input
    stimulus = next(item for item in stimuli if item.name == chosen)
    tolerance = report.criterion.bound if report.criterion.measure == "relative_error" else INTEGER_TOLERANCE
    return find_parting_layer(path, reference, stimulus, tolerance, failed=bool(failed), rewritten=rewritten)


def _ill_conditioned(
    reference: Reference, stimuli: list[Stimulus], expected: dict[str, dict[str, Array]], rows: list[ParityRow]
) -> Iterator[IllConditioned]:
    """Of the inputs and outputs of rows that did not pass, those of which float32 itself misses the bound of float32."""
    failed = {(row.input, row.output) for row in rows if not row.passed}
    bound = CRITERIA[Precision.FP32].bound
    for stimulus in stimuli:
        outputs = [name for name in expected[stimulus.name] if (stimulus.name, name) in failed]
        exact = reference.double(_nchw(stimulus.image)) if outputs else None
        for name in outputs:
            if exact is None:
                return
            error = compare(exact[name], expected[stimulus.name][name]).relative_error
            if error is not None and error > bound:
                yield IllConditioned(stimulus.name, name, error)


def _onnx_rows(
    reference: Reference, stimuli: list[Stimulus], expected: dict[str, dict[str, Array]], criterion: Criterion
) -> Iterator[ParityRow]:
    """The stock ONNX graph against PyTorch; nothing where ONNX Runtime is the reference itself."""
    if reference.source.module is None:
        return
    run = open_onnx(reference.stock)
    for stimulus in stimuli:
        actual = run(_nchw(stimulus.image))
        for (name, wanted), given in zip(expected[stimulus.name].items(), actual.values(), strict=True):
            difference = _difference(reference, stimulus, wanted, given)
            yield ParityRow("onnxruntime", None, None, stimulus.name, name, difference, criterion.holds(difference))


def _runtime_rows(
    path: Path,
    runtime: Runtime,
    reference: Reference,
    stimuli: list[Stimulus],
    expected: dict[str, dict[str, Array]],
    criterion: Criterion,
) -> tuple[RuntimeState, list[ParityRow]]:
    version = runtime.version()
    if version is None:
        return RuntimeState(runtime.name, None), []
    rows = []
    try:
        for xnnpack, threads in runtime.configurations:
            with runtime.open(path, threads=threads, xnnpack=xnnpack) as session:
                for stimulus in stimuli:
                    for name, difference in _run(session, reference, stimulus, expected[stimulus.name]):
                        rows.append(
                            ParityRow(
                                runtime.name,
                                xnnpack,
                                threads,
                                stimulus.name,
                                name,
                                difference,
                                criterion.holds(difference),
                            )
                        )
    except CrashingFileError:
        raise
    except (EvitMobileError, RuntimeError) as error:
        return RuntimeState(runtime.name, version, first_line(error)), rows
    return RuntimeState(runtime.name, version), rows


def _check_input(path: Path, stimulus: Stimulus) -> None:
    graph = read_graph(path)
    if len(graph.inputs) != 1:
        raise RequestError(f"{path} has {len(graph.inputs)} inputs, expected one image")
    tensor = graph.tensors[graph.inputs[0]]
    if tensor.shape != stimulus.image.shape or (tensor.dtype != "float32" and len(tensor.scale) != 1):
        raise RequestError(
            f"{path} takes {tensor.dtype} {list(tensor.shape)}, its source float32 {list(stimulus.image.shape)} (NHWC)"
        )


def _run(
    session: Session, reference: Reference, stimulus: Stimulus, expected: dict[str, Array]
) -> Iterator[tuple[str, Difference]]:
    """Each output's name and difference. Outputs belong together by name; a single one needs no name."""
    outputs = session.run([session.inputs[0].quantise(stimulus.image)])
    actual = {
        name: info.dequantise(value) for name, value, info in zip(session.output_names(), outputs, session.outputs)
    }
    if len(expected) == len(actual) == 1:
        actual = dict(zip(expected, actual.values()))
    for name, wanted in expected.items():
        if name not in actual:
            yield name, Difference(failure=f"the file has no output of that name, only {', '.join(actual)}")
        else:
            yield name, _difference(reference, stimulus, wanted, as_nchw(actual[name], wanted.shape))


def _difference(reference: Reference, stimulus: Stimulus, wanted: Array, given: Array) -> Difference:
    """``compare``; of classes without those that float32's own bound leaves undecided."""
    difference = compare(wanted, given)
    if difference.failure is not None or wanted.dtype.kind not in "iu" or not difference.relative_error:
        return difference
    scores = reference.scores(_nchw(stimulus.image))
    return (
        difference
        if scores is None
        else compare(wanted, without_ties(wanted, given, scores, CRITERIA[Precision.FP32].bound))
    )


def _nchw(image: Array) -> Array:
    """[1, H, W, C] -> [1, C, H, W]."""
    return np.ascontiguousarray(image.transpose(0, 3, 1, 2))


def as_nchw(output: Array, expected: tuple[int, ...]) -> Array:
    """A rank-4 output in the reference's order: NHWC as the file gives it -> NCHW. Any other is left as it is."""
    if output.ndim == 4 and len(expected) == 4:
        moved = output.transpose(0, 3, 1, 2)
        if moved.shape == expected:
            return moved
    return output
