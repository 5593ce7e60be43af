"""Parity: the same inputs through PyTorch, ONNX Runtime and every TFLite runtime, each output judged on its own."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Sequence

import numpy as np

from converters.parity.activations import as_loaded
from converters.parity.comparison import Comparison, IllConditioned, ParityRow, compared
from converters.parity.differences import CRITERIA, Criterion
from converters.parity.expected import is_small
from converters.parity.in_half import rounded_to_half
from converters.parity.layers import LayerReport, find_parting_layer
from converters.parity.layout import arrays_for, in_file_order, in_source_terms, to_file
from converters.parity.reference import Reference, SourceRequest, build_reference
from converters.parity.stimuli import Stimulus, graph_stimuli
from converters.source.blame import file_at_fault
from converters.source.onnx_file import input_size
from converters.tflite.postprocess import without_detections
from evit_mobile.arrays import Array
from evit_mobile.errors import CrashingFileError, EvitMobileError, RequestError, first_line
from evit_mobile.runtimes import RUNTIMES, Runtime, Session
from evit_mobile.runtimes.litert import LITERT
from evit_mobile.specs import Precision
from evit_mobile.tflite.file import Tflite

#: Largest relative error of an integer model's values that are taken for the reference's: some steps of int8 out of
#: 255.
INTEGER_TOLERANCE = 0.15


@dataclass(frozen=True)
class RuntimeState:
    """A runtime that was asked for: its version, None where it is not installed, and why it could not run the model, if
    so.
    """

    name: str
    version: str | None
    error: str | None = None


@dataclass(frozen=True)
class ParityReport:
    """The whole comparison. ``reference`` is the framework that every row is judged by; ``signature`` is set where the
    file has several; ``sha256`` is the file's.
    """

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
    signature: str | None = None
    sha256: str | None = None

    @property
    def passed(self) -> bool:
        """Every row that can be judged passed, no output is undecided, and every installed runtime could run the
        model.
        """
        sound = not self.undecided() and not any(state.error for state in self.runtimes)
        return sound and all(row.passed for row in self.judged())

    def undecided(self) -> list[str]:
        """Outputs that cannot be judged on half of the inputs or more."""
        judged = {(row.input, row.output) for row in self.judged()}
        outputs = dict.fromkeys(row.output for row in self.rows)
        return [name for name in outputs if 2 * sum(output == name for _, output in judged) <= len(self.inputs)]

    def judged(self) -> list[ParityRow]:
        """Rows of inputs on which the reference itself is good enough; a row that failed whatever the bound is always
        one.
        """
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


@dataclass(frozen=True)
class Subject:
    """The file that is compared, and which of its signatures; None where there is nothing to choose.

    Runtimes run the file itself, by that signature. What is read from it is read from ``chosen``.
    """

    path: Path
    chosen: Tflite
    signature: str | None = None

    def open(self, runtime: Runtime, threads: int = 1, xnnpack: bool = True) -> AbstractContextManager[Session]:
        """It, in ``runtime``."""
        return runtime.open(self.path, threads=threads, xnnpack=xnnpack, signature=self.signature)


def verify_model(
    path: Path,
    request: SourceRequest = SourceRequest(),
    *,
    runtimes: Sequence[Runtime] = (RUNTIMES["litert"],),
    image: Path | None = None,
    layers: bool = False,
    signature: str | None = None,
) -> ParityReport:
    """Compare the .tflite at ``path`` with what it was made from.

    Args:
        request: what the file cannot say of its source itself, see ``SourceRequest``.
        runtimes: one that is not installed is listed as such and not counted.
        image: takes the place of the bundled photograph.
        layers: also find the first layer where the file parts from its source.
        signature: which resolution to compare, where the file has several.

    Raises:
        RequestError: the file, the image or the request cannot be used.
    """
    file = Tflite.read(path)
    with _without_detections(file, path, signature) as subject:
        report = _verified(subject, request, runtimes, image=image, layers=layers)
    return dataclasses.replace(report, file=str(path), signature=signature, sha256=file.sha256)


@contextlib.contextmanager
def _without_detections(whole: Tflite, path: Path, signature: str | None) -> Iterator[Subject]:
    """A file that selects boxes, up to there: what the network gives can be compared, not which boxes won."""
    file = whole.at(signature)
    before = without_detections(file)
    if before is file:
        yield Subject(path, file, signature)
        return
    with before.on_disk() as compared_path:
        yield Subject(compared_path, before)


def _verified(
    subject: Subject, request: SourceRequest, runtimes: Sequence[Runtime], *, image: Path | None, layers: bool
) -> ParityReport:
    path, description = subject.path, subject.chosen.description
    precision = Precision(description.precision) if description else Precision.FP32
    criterion = CRITERIA[precision]
    alone = len(runtimes) == 1
    if alone:
        _check_loads(subject, runtimes[0])
    with file_at_fault(request.onnx_path):
        reference = build_reference(path, description, request)
        comparison = _comparison(subject, reference, image)
        rows = list(comparison.onnx_rows(CRITERIA[Precision.FP32]))
    results = [_runtime_rows(subject, runtime, comparison, criterion, alone=alone) for runtime in runtimes]
    if subject.chosen.in_half and LITERT in runtimes and is_small(comparison.stimuli[0].inputs):
        results.append(_half_rows(subject, comparison, criterion))
    rows, ill_conditioned = comparison.rounded([*rows, *(row for _, some in results for row in some)])
    report = ParityReport(
        file=str(path),
        model=reference.source.name,
        resolution=input_size(reference.stock),
        precision=precision,
        reference=reference.name,
        criterion=criterion,
        inputs=[stimulus.name for stimulus in comparison.stimuli],
        runtimes=[state for state, _ in results],
        rows=rows,
        ill_conditioned=ill_conditioned,
    )
    try:
        rewritten = description is None or description.rewrite
        return _with_layers(subject, comparison, report, rewritten=rewritten) if layers else report
    except CrashingFileError:  # LiteRT, which gives the layers' values, crashed in the rows above too
        if alone:
            raise
        return report


def _check_loads(subject: Subject, runtime: Runtime) -> None:
    """With nothing to compare it to, a file that cannot be loaded is a wrong request, not a model without parity."""
    if runtime.version() is not None:
        with subject.open(runtime):
            pass


def _comparison(subject: Subject, reference: Reference, image: Path | None) -> Comparison:
    stimuli = graph_stimuli(reference.source, reference.stock, image=image)
    _check_inputs(subject, stimuli[0])
    description = subject.chosen.description
    layout = description.output_layout if description else None
    return compared(reference, stimuli, in_source_terms(layout, channels_last=reference.source.channels_last))


def _with_layers(subject: Subject, comparison: Comparison, report: ParityReport, *, rewritten: bool) -> ParityReport:
    """``report`` with the layer where the file parts.

    Noise tells layers apart best; where only another input shows the fault, that one.
    """
    stimuli = comparison.stimuli
    failed = [row.input for row in report.judged() if not row.passed and row.threads is not None]
    chosen = stimuli[0].name if not failed or stimuli[0].name in failed else report.worst().input
    stimulus = next(item for item in stimuli if item.name == chosen)
    tolerance = report.criterion.bound if report.criterion.measure == "relative_error" else INTEGER_TOLERANCE
    with subject.chosen.on_disk() as path:
        layers = find_parting_layer(
            path, comparison.reference, stimulus, tolerance, failed=bool(failed), rewritten=rewritten
        )
    return dataclasses.replace(report, layers=layers)


def _runtime_rows(
    subject: Subject, runtime: Runtime, comparison: Comparison, criterion: Criterion, *, alone: bool
) -> tuple[RuntimeState, list[ParityRow]]:
    """What came of one runtime; one that crashes, ``alone`` as it is, leaves nothing to say but that."""
    version = runtime.version()
    if version is None:
        return RuntimeState(runtime.name, None), []
    rows: list[ParityRow] = []
    try:
        for xnnpack, threads in runtime.configurations:
            with subject.open(runtime, threads, xnnpack) as session:
                setting = (runtime.name, xnnpack, threads)
                for stimulus in comparison.stimuli:
                    rows += comparison.rows(setting, stimulus, _run(session, stimulus), criterion)
    except (EvitMobileError, RuntimeError) as error:
        if alone and isinstance(error, CrashingFileError):
            raise
        return RuntimeState(runtime.name, version, first_line(error)), rows
    return RuntimeState(runtime.name, version), rows


def _half_rows(subject: Subject, comparison: Comparison, criterion: Criterion) -> tuple[RuntimeState, list[ParityRow]]:
    """What comes of a file where processors compute it in half precision; this machine need not."""
    name, rounded = f"{LITERT.name} in fp16", rounded_to_half(subject.chosen)
    try:
        with rounded.on_disk() as path, LITERT.open(path) as session:
            rows = [
                row
                for stimulus in comparison.stimuli
                for row in comparison.rows((name, True, 1), stimulus, _run(session, stimulus), criterion)
            ]
    except (EvitMobileError, RuntimeError) as error:
        return RuntimeState(name, LITERT.version(), first_line(error)), []
    return RuntimeState(name, LITERT.version()), rows


def _run(session: Session, stimulus: Stimulus) -> dict[str, Array]:
    """Outputs by name, as the file gives them."""
    values = session.run(arrays_for(session.inputs, stimulus.inputs))
    return {name: info.dequantise(value) for name, value, info in zip(session.output_names(), values, session.outputs)}


def _check_inputs(subject: Subject, stimulus: Stimulus) -> None:
    """The file takes what its source takes.

    Raises:
        RequestError: it does not.
    """
    graph, path = subject.chosen.graph, subject.path
    infos = [as_loaded(graph.tensors[index]) for index in graph.inputs]
    if len(infos) != len(stimulus.inputs):
        number = f"{len(infos)} input{'' if len(infos) == 1 else 's'}"
        raise RequestError(f"{path} takes {number}, its source {len(stimulus.inputs)}")
    for info, value in zip(infos, in_file_order(infos, stimulus.inputs)):
        holds = len(info.scale) == 1 or np.dtype(info.dtype).kind == value.dtype.kind
        if not holds or to_file(value, info.shape).shape != info.shape:
            raise RequestError(
                f"{path} takes {info.dtype} {list(info.shape)}, its source {value.dtype} {list(value.shape)}"
            )
