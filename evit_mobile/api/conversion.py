"""``convert``: a network to a .tflite in memory."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import numpy as np

from converters.options import ConvertOptions
from converters.report import Conversion
from evit_mobile.arrays import Array
from evit_mobile.card import CardArguments, ModelCard
from evit_mobile.errors import RequestError
from evit_mobile.models.registry import check_name
from evit_mobile.processes import temporary_folder
from evit_mobile.specs import AUTO, DEFAULT_MIN_SQNR_DB, Precision, Resolution

if TYPE_CHECKING:
    from torch import Tensor, nn

type OneResolution = Resolution | int | str | tuple[int, int]
type Examples = Tensor | Sequence[Tensor] | Mapping[str, Tensor] | None


def convert(
    model: nn.Module | str | Path,
    options: ConvertOptions = ConvertOptions(),
    *,
    resolution: OneResolution | list[OneResolution] | None = None,
    precision: Precision | str | None = None,
    calibration: str | Path | Array | Sequence[Array] | None = None,
    example_inputs: Examples = None,
    **card: Unpack[CardArguments],
) -> Conversion:
    """Convert a network to a .tflite that XNNPACK runs as one partition.

    Args:
        model: a ``torch.nn.Module`` in evaluation mode, the name of a registered model, ``timm:NAME``,
            ``package.module:factory``, or the path of an ONNX file. A conversion from a name or a file is kept in the
            cache, one from a module is not.
        options: everything that a conversion can be asked for; the arguments below replace its fields.
        resolution: of the input image: a side, ``"HxW"``, or (height, width), in pixels. A list of several gives one
            file with a signature for each, ``r192``, ``r224``, …, that share their weights.
        precision: ``"fp32"``, ``"fp16"``, ``"dynamic"`` or ``"int8"``; ``"auto"`` is the fastest that keeps
            ``options.min_sqnr_db`` (None: 30) on ``options.core``.
        calibration: int8 and auto: a folder of pictures, an .npz file, ``package.module:function``, or an array
            [N, H, W, C] or a sequence of [H, W, C]: uint8 RGB pictures at the model's resolution, or float32 model
            inputs.
        example_inputs: for a module whose input is not one RGB image: a float32 tensor for each argument of its
            ``forward``, in order or by name. Only their shapes matter.
        card: what the network is, where it cannot say that itself: ``mean`` and ``std`` of the red, green and blue
            pixels, as in training (one number or three); ``scale``, what a white pixel is before that (1, or 255);
            ``task``, ``"classification"``, ``"detection"`` or ``"segmentation"``; ``labels``, the names of the classes
            or the path of a file of them; ``classes``, how many a named model is built with. They replace
            ``options.card``.

    Returns:
        The .tflite's bytes and the report; ``save(path)`` writes it.

    Raises:
        RequestError: there is no such model, or an option, the calibration data or the network cannot be used.
        ClaimError: the file does not compute what the network does (``options.check`` is False: no such check).
        MachineError: the converter failed.

    Examples:
        >>> import evit_mobile as em
        >>> conversion = em.convert("base-r192", resolution=96)
        >>> conversion.report.onnx_ops_before["Gather"], conversion.report.onnx_ops_after.get("Gather")
        (21, None)
    """
    if isinstance(model, (str, Path)):
        check_name(str(model))
        if example_inputs is not None:
            raise RequestError("example_inputs are for a module", hint="give the shapes by options.inputs")
    asked = resolution if isinstance(resolution, list) else [resolution]
    resolutions = [_resolution(item) for item in asked if item is not None]
    if len(resolutions) == 1:
        options = dataclasses.replace(options, resolution=resolutions[0])
    if precision == AUTO:
        options = dataclasses.replace(options, precision=None, min_sqnr_db=options.min_sqnr_db or DEFAULT_MIN_SQNR_DB)
    elif precision is not None:
        options = dataclasses.replace(options, precision=_precision(precision))
    if card:
        options = dataclasses.replace(options, card=ModelCard.of(**card))
    with _calibration_source(options.calibration if calibration is None else calibration) as source:
        options = dataclasses.replace(options, calibration=source)
        if len(resolutions) > 1:
            return _convert_several(model, options, resolutions, example_inputs)
        return _convert_one(model, options, example_inputs)


def _convert_several(
    model: nn.Module | str | Path, options: ConvertOptions, resolutions: list[Resolution], example_inputs: Examples
) -> Conversion:
    from converters.several import merged, options_of

    if options.min_sqnr_db is not None:
        raise RequestError(
            "the precision is chosen for one resolution at a time", hint="name one, or a precision in place of auto"
        )
    return merged([_convert_one(model, item, example_inputs) for item in options_of(resolutions, options)])


def _convert_one(model: nn.Module | str | Path, options: ConvertOptions, example_inputs: Examples) -> Conversion:
    def convert_with(options: ConvertOptions) -> Conversion:
        if isinstance(model, (str, Path)):
            return _convert_named(str(model), options)
        return _convert_module(model, options, example_inputs)

    if options.precision is None and options.min_sqnr_db is not None:
        from converters.auto import convert_fastest

        return convert_fastest(convert_with, options)
    return convert_with(options)


def _convert_named(model: str, options: ConvertOptions) -> Conversion:
    from converters.pipeline import convert_in_memory

    return convert_in_memory(model, options)


def _convert_module(module: nn.Module, options: ConvertOptions, example_inputs: Examples) -> Conversion:
    from torch import nn

    from converters.pipeline import convert_in_memory
    from converters.source.inputs import example_request
    from converters.source.load import module_source

    if not isinstance(module, nn.Module):
        raise RequestError(
            f"a {type(module).__name__} cannot be converted", hint="give a torch.nn.Module, a name or a path"
        )
    if options.weights is not None:
        raise RequestError("a module has its weights in it", hint="load them into the module")
    if options.card.classes is not None:
        raise RequestError("a module has its number of classes in it", hint="leave out classes")
    request = options.inputs if example_inputs is None else example_request(module, example_inputs, options.inputs)
    return convert_in_memory(
        module_source(module, options.resolution, request, options.card), dataclasses.replace(options, inputs=request)
    )


def _resolution(value: OneResolution) -> Resolution:
    if isinstance(value, Resolution):
        return value
    if isinstance(value, tuple):
        return Resolution.parse("x".join(map(str, value)))
    return Resolution.parse(str(value))


def _precision(value: Precision | str) -> Precision:
    try:
        return Precision(value)
    except ValueError as error:
        known = ", ".join([*Precision, AUTO])
        raise RequestError(f"there is no precision {value!r}", hint=f"one of {known}") from error


@contextlib.contextmanager
def _calibration_source(calibration: str | Path | Array | Sequence[Array] | None) -> Iterator[str | None]:
    """``calibration`` as options name it: arrays are put into a file for as long as the body runs."""
    if calibration is None or isinstance(calibration, (str, Path)):
        yield None if calibration is None else str(calibration)
        return
    try:
        images = np.stack([np.asarray(image) for image in calibration])
    except ValueError as error:
        raise RequestError(f"the calibration inputs cannot be one array: {error}") from error
    with temporary_folder() as folder:
        path = folder / "calibration.npz"
        np.savez(path, images)
        yield str(path)
