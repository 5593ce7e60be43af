"""What a .tflite is compared with: the network that it was made from, built again."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from converters.onnx_reader import OnnxSession
from converters.onnx_session import Run, open_session
from converters.parity.rounding import run_in_double, run_module
from converters.source.ends import with_ends
from converters.source.inputs import InputRequest
from converters.source.load import Source, load_source, module_source
from converters.source.torch_export import Exporter
from evit_mobile.arrays import Array
from evit_mobile.card import ModelCard
from evit_mobile.errors import RequestError, first_line
from evit_mobile.models import trained_of
from evit_mobile.specs import Ends, ModelName, Resolution
from evit_mobile.tflite.description import ModelDescription

if TYPE_CHECKING:
    import onnx
    from torch import nn


@dataclass(frozen=True)
class SourceRequest:
    """What the user says of a model that the file does not say, or says again.

    ``model`` is as for ``convert``; it is needed where the file has no entry of ours, for an ONNX source, whose path
    the file does not know, and for a factory, which is imported only where the user names it. ``module`` is the network
    itself, where the file was made from one; ``source``, where that is still at hand, is what the file was made from,
    and nothing has to be built again.
    """

    model: str | None = None
    resolution: Resolution | None = None
    weights: Path | None = None
    module: nn.Module | None = None
    source: Source | None = None

    @property
    def onnx_path(self) -> Path | None:
        """``model``, where it is an ONNX file."""
        is_onnx = self.model is not None and ModelName.parse(self.model).kind == "onnx"
        return Path(str(self.model)) if is_onnx else None


@dataclass(frozen=True)
class Reference:
    """The source and its stock ONNX graph, before any pass. ``name`` is the framework that gives the reference
    values.
    """

    source: Source
    stock: onnx.ModelProto

    @property
    def name(self) -> str:
        return "onnxruntime" if self.source.module is None else "pytorch"

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Outputs by name; ``inputs`` by name, in the graph's layout and in its order."""
        if self.source.module is None:
            return self._onnx(inputs)
        return run_module(self.source.module, inputs, self.source.outputs)

    def scores(self, inputs: Mapping[str, Array]) -> Array | None:
        """[…, classes]: what the single output, if it is classes, was chosen by; None where the network has no
        ``scores`` to tell.
        """
        return class_scores(self.source.module, inputs)

    @functools.cached_property
    def double(self) -> Run | None:
        """``run`` in float64 of a module; None of an ONNX graph, which says float32."""
        return None if self.source.module is None else run_in_double(self.source.module, self.source.outputs)

    @functools.cached_property
    def _onnx(self) -> Run:
        return open_onnx_inputs(self.stock, self.source)


def build_reference(file: Path, description: ModelDescription | None, request: SourceRequest) -> Reference:
    """The network that ``file`` says it was made from, with the same weights, seed and resolution.

    Raises:
        RequestError: the file does not say what it is and neither does ``request``; they contradict each other; the
            weights or the ONNX file are missing or are others than it was made from.
    """
    from converters.source.export import export_onnx

    source = request.source or (
        _described_source(file, description, request) if description else _named_source(file, request)
    )
    if description is not None and request.source is None:
        own = description.preprocessing if description.ends == Ends() else description.network_preprocessing
        source = with_ends(dataclasses.replace(source, task=description.task, preprocessing=own), description.ends)
    return Reference(source, export_onnx(source))


def _named_source(file: Path, request: SourceRequest) -> Source:
    if request.module is not None:
        return module_source(request.module, request.resolution)
    if request.model is None:
        raise RequestError(
            f"{file} does not say what it was made from",
            hint="it is no file of evit-mobile's: name its source by --model",
        )
    return load_source(request.model, request.resolution, request.weights)


def _described_source(file: Path, description: ModelDescription, request: SourceRequest) -> Source:
    fixed = bool(description.input_shapes) or description.onnx_sha256 is not None
    resolution = None if fixed else Resolution.parse(description.resolution)
    if request.resolution not in (None, resolution):
        mismatch = f"{file} takes {description.resolution} images, not {request.resolution}"
        raise RequestError(mismatch, hint="leave out --resolution")
    if description.from_module:
        return _module_source(file, description, request, resolution)
    if request.module is not None:
        raise RequestError(f"{file} was made from {description.model}, not from a module", hint="leave out the module")
    if description.onnx_sha256 is not None:
        return _onnx_source(file, description, request)
    if request.model is None:
        _check_named_by_file(file, description.model)
    elif request.model != description.model:
        raise RequestError(
            f"{file} was made from {description.model}, not from {request.model}", hint="leave out --model"
        )
    trained = trained_of(description.model)
    # Bundled weights need not be given again; a file that was made with others says so by its hash.
    weights = request.weights or (trained.weights if trained and description.weights_sha256 is not None else None)
    _check_weights(file, description, weights)
    card = ModelCard(classes=description.classes)
    return load_source(description.model, resolution, weights, description.seed, _inputs(description), card)


def _check_named_by_file(file: Path, model: str) -> None:
    """A file may name models of ours and of the zoo. What would be imported or opened by its word comes from the caller
    alone.
    """
    kind = ModelName.parse(model).kind
    if kind == "factory":
        raise RequestError(
            f"{file} names the factory {model}, which is not imported on a file's word",
            hint=f"if you trust it: --model {model}",
        )
    if kind == "onnx":
        raise RequestError(
            f"{file} names the ONNX file {model}, which is not opened on a file's word", hint="give it by --model"
        )


def _inputs(description: ModelDescription) -> InputRequest:
    return InputRequest(description.input_shapes, description.channels, Exporter(description.exporter))


def _module_source(
    file: Path, description: ModelDescription, request: SourceRequest, resolution: Resolution | None
) -> Source:
    if request.module is None:
        raise RequestError(
            f"{file} was made from a torch.nn.Module, {description.model}, which the file does not hold",
            hint="from Python: evit_mobile.verify(FILE, source=module)",
        )
    return module_source(request.module, resolution, _inputs(description))


def _onnx_source(file: Path, description: ModelDescription, request: SourceRequest) -> Source:
    from evit_mobile.weights import sha256_of

    if request.model is None:
        raise RequestError(f"{file} was made from an ONNX file", hint=f"give it: --model path/to/{description.model}")
    source = load_source(request.model, None, request.weights, request=_inputs(description))
    if source.onnx_path is None or sha256_of(source.onnx_path) != description.onnx_sha256:
        hint = f"its source is {description.model}, SHA-256 {description.onnx_sha256}"
        raise RequestError(f"{file} was not made from {request.model}", hint=hint)
    return source


def _check_weights(file: Path, description: ModelDescription, weights: Path | None) -> None:
    from evit_mobile.weights import sha256_of

    if description.weights_sha256 is None:
        if weights is not None:
            raise RequestError(
                f"{file} was made with weights from seed {description.seed}, not from a file",
                hint="leave out --weights",
            )
        return
    if weights is None:
        hint = f"give it: --weights FILE, SHA-256 {description.weights_sha256}"
        raise RequestError(f"{file} was made with weights from a file", hint=hint)
    if not weights.is_file():
        raise RequestError(f"weights {weights} do not exist")
    if (given := sha256_of(weights)) != description.weights_sha256:
        raise RequestError(
            f"{file} was not made with {weights}", hint=f"expected SHA-256 {description.weights_sha256}, found {given}"
        )


def class_scores(module: nn.Module | None, inputs: Mapping[str, Array]) -> Array | None:
    """[…, classes]: what the single output of ``module``, if it is classes, was chosen by; None where it has no
    ``scores`` to tell.
    """
    scores = getattr(module, "scores", None)
    if scores is None:
        return None
    import torch

    with torch.no_grad():
        values: Array = scores(*(torch.from_numpy(value) for value in inputs.values())).numpy()
    return values


def open_onnx_inputs(model: onnx.ModelProto, source: Source) -> Run:
    """``model``, a graph of ``source``, in ONNX Runtime: of a user's file, in a process of its own.

    Raises:
        RequestError: ONNX Runtime refuses it.
    """
    if source.onnx_path is not None:
        return OnnxSession(model, source.name)
    try:
        return open_session(model)
    except Exception as error:  # ONNX Runtime raises exceptions without a common class
        what = f"ONNX Runtime cannot run what PyTorch exports of {source.name}"
        hint = "a module has to compute in float32: leave torch.autocast and half() out"
        raise RequestError(f"{what}: {first_line(error)}", hint=hint) from error
