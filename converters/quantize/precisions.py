"""From a float32 .tflite to the precision that was asked for."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from evit_mobile.errors import RequestError
from evit_mobile.specs import IoType, Pixels, Precision
from evit_mobile.tflite.classes import SELECTED

if TYPE_CHECKING:
    import onnx

    from converters.options import ConvertOptions
    from converters.quantize import OpPlan
    from converters.quantize.qdq import QuantisedGraph
    from converters.source.load import Source
    from evit_mobile.tflite.description import Quantisation
    from evit_mobile.tflite.file import Tflite


#: Where a precision is faster than fp32, and where not: benchmarks/results/precision.md, int8.md and int8_avx2.md.
WHERE_FAST = {
    Precision.FP16: (
        "fp16 is faster where the processor computes in it (from Armv8.2 on); others, x86 among them, unpack it to fp32"
    ),
    Precision.DYNAMIC: (
        "dynamic makes the file small; int8 is what makes it fast, where the processor has 8-bit dot products"
    ),
    Precision.INT8: (
        "int8 is faster where the processor has 8-bit dot products (Arm asimddp, x86 VNNI), elsewhere as fast as fp32"
    ),
}


@dataclass(frozen=True)
class InPrecision:
    """The model in its precision.

    Attributes:
        tree: its object tree (``ModelT``), for whoever packs it to edit.
        plan: what was decided for each op; empty where nothing was quantised.
        quantisation: what the file's metadata say of that.
        warnings: what the user should know.
        calibration_image: [1, H, W, C], the first that value ranges were measured on; None where none were.
        precision: that it came to be, where a mix was asked for; else None.
        half: what is float may be computed in half precision.
    """

    tree: Any
    plan: list[OpPlan] = field(default_factory=list)
    quantisation: Quantisation | None = None
    warnings: list[str] = field(default_factory=list)
    calibration_image: NDArray[np.float32] | None = None
    precision: Precision | None = None
    half: bool = False


def settled(options: ConvertOptions, name: str, *, quantised: bool) -> ConvertOptions:
    """``options`` with the precision of the network ``name``, which brings its own scales or not.

    Raises:
        RequestError: it does, and calibration data or another precision are asked for; see also ``check_precision``.
    """
    if not quantised:
        check_precision(options)
        return dataclasses.replace(options, precision=options.target)
    if options.precision not in (None, Precision.INT8):
        hint = "leave out --precision"
        raise RequestError(f"{name} is quantised already, to int8: it cannot be made {options.precision}", hint=hint)
    if options.calibration is not None:
        raise RequestError(f"{name} brings its own scales: it is quantised already", hint="leave out --calibration")
    return dataclasses.replace(options, precision=Precision.INT8)


def check_precision(options: ConvertOptions) -> None:
    """Refuse what does not fit together, before any work is done.

    Raises:
        RequestError: int8 without calibration data, or calibration or an input type for another precision.
    """
    if options.target is Precision.INT8:
        if options.calibration is None:
            raise RequestError(
                "int8 needs calibration data: value ranges are measured on it",
                hint="--calibration FOLDER of some 32 to 128 typical pictures",
            )
    elif options.min_sqnr_db is not None:
        if options.calibration is None:
            raise RequestError(
                "a bound on SQNR needs calibration data: noise is measured on it",
                hint="--calibration FOLDER of some 32 to 128 typical pictures",
            )
        if options.io_type is not IoType.FLOAT32:
            raise RequestError("auto models take and give float32", hint="--io-type is for --precision int8")
    elif options.calibration is not None:
        raise RequestError(f"{options.target} takes no calibration data", hint="it is for --precision int8")
    elif options.io_type is not IoType.FLOAT32:
        raise RequestError(
            f"{options.target} models take and give float32",
            hint="--io-type is for --precision int8; --input uint8 is for all",
        )
    if options.io_type is not IoType.FLOAT32 and options.ends.nms:
        raise RequestError("--postprocess nms reads boxes in float32", hint="leave out --io-type; --input uint8 stays")
    if options.io_type is IoType.INT8 and options.ends.pixels is not None:
        raise RequestError("pixels are not int8", hint="--input uint8, with --io-type uint8 or without")


def check_inputs(source: Source, stock: onnx.ModelProto, options: ConvertOptions) -> None:
    """Refuse a network that cannot be measured on the calibration data of ``options``, before it is lowered.

    Raises:
        RequestError: int8 of a network whose input is not one image, ``stock`` being its exported graph; or a folder of
            pictures, where it is not known how they become its input.
    """
    from converters.quantize.input_format import unknown_pixels
    from converters.source.onnx_file import graph_inputs

    ranks = [len(value.type.tensor_type.shape.dim) for value in graph_inputs(stock)]
    if options.calibration is not None and ranks != [4]:
        inputs = f"{len(ranks)} inputs" if len(ranks) > 1 else f"an input of rank {ranks[0]}"
        raise RequestError(
            f"{source.name} cannot be calibrated for int8: calibration data are images, and it takes {inputs}",
            hint="--precision dynamic has int8 weights and needs no calibration data",
        )
    if options.calibration is not None and source.preprocessing is None and Path(options.calibration).is_dir():
        raise unknown_pixels(f"calibration folder {options.calibration}")


def in_precision(
    model: Tflite,
    source: Source,
    stock: onnx.ModelProto,
    options: ConvertOptions,
    quantised: QuantisedGraph | None = None,
) -> InPrecision:
    """The float32 ``model`` of ``source``, whose exported graph is ``stock``, in the precision of ``options``.

    Args:
        quantised: the source where it brings its own scales: ``model`` is its float network.

    Raises:
        RequestError: calibration data that cannot be used, or values that fp16 cannot hold.
    """
    if quantised is not None:
        return _encoded(model, source, quantised, options)
    if options.min_sqnr_db is not None:
        return _mixed(model, source, stock, options)
    if options.precision is Precision.INT8:
        return _int8(model, source, options)
    if options.precision is Precision.DYNAMIC:
        from converters.quantize.dynamic import quantise_dynamic

        made = quantise_dynamic(model)
        plan = _with_ends(made.tree, made.plan, source)
        described = quantisation_of(plan, io_type=IoType.FLOAT32, images=0, calibration_sha256=None)
        return InPrecision(made.tree, plan, described, [WHERE_FAST[Precision.DYNAMIC]])
    if options.precision is Precision.FP16:
        return _fp16(model, source, stock)
    tree = model.editable_tree()
    return InPrecision(tree, _with_ends(tree, [], source))


def _with_ends(tree: Any, plan: list[OpPlan], source: Source) -> list[OpPlan]:
    """``plan`` of a finished ``tree``, which gets the ends that are no part of the network."""
    from converters.quantize.byte_input import with_byte_input
    from converters.quantize.plan import OpPlan
    from converters.tflite.postprocess import OP, REASON, with_detections

    if source.ends.nms:
        with_detections(tree)
        plan = [*plan, OpPlan(len(plan), OP, SELECTED[0], Precision.FP32, REASON)] if plan else plan
    return with_byte_input(tree, plan) if source.ends.pixels is Pixels.UINT8 else plan


def _fp16(model: Tflite, source: Source, stock: onnx.ModelProto) -> InPrecision:
    from converters.parity.stimuli import graph_stimuli
    from converters.quantize.half import measure_range, to_half

    values = measure_range(model, graph_stimuli(source, stock))
    tree = to_half(model)
    return InPrecision(tree, _with_ends(tree, [], source), warnings=[WHERE_FAST[Precision.FP16], *values.warnings()])


def _mixed(model: Tflite, source: Source, stock: onnx.ModelProto, options: ConvertOptions) -> InPrecision:
    """The fastest mix that keeps ``options.min_sqnr_db``."""
    from converters.parity.stimuli import graph_stimuli
    from converters.quantize.calibration import open_calibration
    from converters.quantize.half import halve, measure_range
    from converters.quantize.held_out import calibration_size
    from converters.quantize.input_format import InputFormat
    from converters.quantize.mixed import MixRequest, quantise_within
    from converters.quantize.prices import prices_for
    from converters.quantize.weighed import Family

    assert options.calibration is not None and options.min_sqnr_db is not None
    data = open_calibration(options.calibration, InputFormat.of(model, source.preprocessing))
    half = options.precision is Precision.FP16
    family = Family(prices_for(options.core), Precision.FP16 if half else Precision.FP32, not half)
    input_type = IoType.FLOAT32 if source.ends.pixels is not None else options.io_type
    made = quantise_within(model, data, MixRequest(family, options.min_sqnr_db, input_type, options.io_type))
    plan, warnings = made.plan, list(data.notes)
    if half:
        warnings += measure_range(model, graph_stimuli(source, stock)).warnings()
        plan = _behind(halve(made.tree), plan)
    kinds = {item.precision for item in plan}
    precision = next((kind for kind in (Precision.INT8, Precision.DYNAMIC) if kind in kinds), family.floating)
    plan = _with_ends(made.tree, plan, source)
    described = quantisation_of(
        plan, io_type=options.io_type, images=calibration_size(data), calibration_sha256=data.sha256
    )
    image = next(iter(data)) if precision is Precision.INT8 else None
    return InPrecision(made.tree, plan, described, warnings, image, precision, half)


def _behind(unpacked: int, plan: list[OpPlan]) -> list[OpPlan]:
    """``plan`` behind the DEQUANTIZE ops of constants in float16, which come first."""
    from converters.quantize.plan import OpPlan

    reason = "a constant in float16, unpacked once"
    first = [OpPlan(index, "DEQUANTIZE", "", Precision.FP16, reason) for index in range(unpacked)]
    return [*first, *(dataclasses.replace(item, op=item.op + unpacked) for item in plan)]


def _encoded(model: Tflite, source: Source, quantised: QuantisedGraph, options: ConvertOptions) -> InPrecision:
    from converters.quantize.encoded import ROUNDED_DIVISOR, SPARE_ATTENTION, quantise_encoded

    pixels = source.ends.pixels is not None
    made = quantise_encoded(model, source, quantised, options.io_type, float_input=pixels)
    plan = _with_ends(made.tree, made.plan, source)
    described = quantisation_of(plan, io_type=options.io_type, images=0, calibration_sha256=None)
    spared = sum(item.reason == ROUNDED_DIVISOR for item in plan)
    warnings = [WHERE_FAST[Precision.INT8]]
    if spared:
        apart = f"{source.name} rounds {spared} divisors, which stay float here: on flat pictures the two differ"
        warnings.append(f"{apart}; {SPARE_ATTENTION}")
    return InPrecision(made.tree, plan, described, warnings)


def _int8(model: Tflite, source: Source, options: ConvertOptions) -> InPrecision:
    from converters.quantize import quantise_int8
    from converters.quantize.calibration import open_calibration
    from converters.quantize.held_out import calibration_part, calibration_size
    from converters.quantize.input_format import InputFormat

    if options.calibration is None:
        raise RequestError("int8 needs calibration data", hint="see check_precision")
    data = open_calibration(options.calibration, InputFormat.of(model, source.preprocessing))
    images, count = (calibration_part(data), calibration_size(data)) if options.hold_out else (iter(data), len(data))
    first: list[NDArray[np.float32]] = []
    quantised = quantise_int8(
        model, _keeping_first(images, first), io_type=options.io_type, float_input=source.ends.pixels is not None
    )
    plan = _with_ends(quantised.tree, quantised.plan, source)
    described = quantisation_of(plan, io_type=options.io_type, images=count, calibration_sha256=data.sha256)
    warnings = [WHERE_FAST[Precision.INT8], *data.notes]
    return InPrecision(quantised.tree, plan, described, warnings, first[0])


def _keeping_first(
    images: Iterable[NDArray[np.float32]], first: list[NDArray[np.float32]]
) -> Iterator[NDArray[np.float32]]:
    """``images``, with the first one put into ``first``: calibration data are read once."""
    for image in images:
        if not first:
            first.append(image)
        yield image


def quantisation_of(
    plan: Sequence[OpPlan], *, io_type: IoType, images: int, calibration_sha256: str | None
) -> Quantisation:
    """The description of a model whose ops are ``plan``'s, in order."""
    from evit_mobile.tflite.description import Quantisation

    reasons = list(dict.fromkeys(item.reason for item in plan))
    numbers = {reason: number for number, reason in enumerate(reasons)}
    op_reasons = [numbers[item.reason] for item in plan]
    return Quantisation(
        io_type=io_type,
        calibration_images=images,
        calibration_sha256=calibration_sha256,
        reasons=reasons,
        op_reasons=op_reasons,
    )
