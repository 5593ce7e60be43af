"""``verify`` and ``inspect``: what a .tflite computes, and how it is divided."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from converters.report import Conversion
from evit_mobile.runtimes import Runtime, find_runtime
from evit_mobile.specs import ModelName
from evit_mobile.tflite.file import Tflite

if TYPE_CHECKING:
    from torch import nn

    from converters.parity.reference import SourceRequest
    from converters.parity.verify import ParityReport
    from converters.tflite.inspection import Inspection


def verify(
    model: Conversion | Path | str,
    source: nn.Module | str | Path | SourceRequest | None = None,
    *,
    weights: Path | str | None = None,
    runtimes: Sequence[str | Runtime] = ("litert",),
    image: Path | str | None = None,
    layers: bool = False,
    signature: str | None = None,
) -> ParityReport:
    """Compare a .tflite with the network that it was made from, on several inputs in every configuration of the
    runtimes.

    Args:
        model: a conversion, or the path of a .tflite.
        source: what the file was made from, where it cannot say that itself: the module, ``package.module:factory``,
            the path of the ONNX file, or a ``SourceRequest``, which holds a resolution as well. A conversion knows its
            source.
        weights: the checkpoint that the file was made with; a conversion knows that too.
        runtimes: TFLite runtimes or their names; one that is not installed is listed as such.
        image: a photograph that takes the place of the bundled one.
        layers: also find the first layer where the file parts from its source.
        signature: which resolution to compare, where the file has several.

    Returns:
        Every comparison, and whether all passed (``passed``). No parity is a result, not an exception.

    Raises:
        RequestError: the file, its source or the image cannot be used.

    Examples:
        >>> import evit_mobile as em
        >>> report = em.verify(em.convert("base-r192", resolution=96))
        >>> report.passed, report.reference
        (True, 'pytorch')
    """
    from converters.parity.verify import verify_model

    chosen = [find_runtime(item) if isinstance(item, str) else item for item in runtimes]
    request = _request(_part(model, signature), source, None if weights is None else Path(weights))
    file = tflite_of(model)
    with file.on_disk() as path:
        picture = None if image is None else Path(image)
        report = verify_model(path, request, runtimes=chosen, image=picture, layers=layers, signature=signature)
    return dataclasses.replace(report, file=file.name)


def inspect(model: Conversion | Path | str, runtime: str = "litert", *, signature: str | None = None) -> Inspection:
    """Ops with their costs, delegate partitions, and which ops were not delegated, and why.

    Args:
        model: a conversion, or the path of a .tflite.
        runtime: name of the TFLite runtime to ask.
        signature: which resolution to look at, where the file has several.

    Returns:
        The file under that runtime.

    Raises:
        RequestError: the file cannot be used, or there is no such runtime.
        MachineError: the runtime is not installed, or crashed.

    Examples:
        >>> import evit_mobile as em
        >>> inspection = em.inspect(em.convert("base-r192", resolution=96))
        >>> inspection.partitions, inspection.undelegated
        (1, [])
    """
    from converters.tflite.inspection import inspect_model

    return inspect_model(tflite_of(model).at(signature), find_runtime(runtime))


def tflite_of(model: Conversion | Path | str) -> Tflite:
    """The bytes of a conversion, or of the file at a path.

    Raises:
        RequestError: the file cannot be read, or is not a sound .tflite.
    """
    if isinstance(model, Conversion):
        return Tflite(model.content, f"the conversion of {model.report.model}")
    return Tflite.read(Path(model))


def _part(model: Conversion | Path | str, signature: str | None) -> Conversion | Path | str:
    """The conversion to the resolution of ``signature``, of one to several."""
    return model.parts.get(signature or "", model) if isinstance(model, Conversion) else model


def _request(
    model: Conversion | Path | str, source: nn.Module | str | Path | SourceRequest | None, weights: Path | None
) -> SourceRequest:
    """What ``verify`` has to know of a model beyond the file."""
    from converters.parity.reference import SourceRequest

    if isinstance(model, Conversion) and source is None:
        if model.source is not None:
            return SourceRequest(source=model.source)
        own = ModelName.parse(model.report.model).kind in ("onnx", "factory")
        return SourceRequest(model.report.model if own else None, weights=weights or model.weights)
    if isinstance(source, SourceRequest):
        return source
    if source is None or isinstance(source, (str, Path)):
        return SourceRequest(None if source is None else str(source), weights=weights)
    return SourceRequest(module=source)
