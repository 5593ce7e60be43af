"""From ``--model`` to a .tflite: source, export, passes, lowering, metadata; with a report, and a cache that bench and tests share."""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Iterator

from converters.cache import cache_path, report_of, store
from converters.options import ConversionReport, ConvertOptions, versions
from converters.quantize.attention_ranges import attention_ranges
from converters.quantize.attention_ranges import warnings as range_warnings
from converters.quantize.precisions import InPrecision, check_precision, in_precision
from converters.source.load import Source, load_source
from evit_mobile.files import cache_folder, whole_file
from evit_mobile.models.labels import labels_for
from evit_mobile.specs import Resolution, Target
from evit_mobile.tflite.versions import minimum_runtime_version
from evit_mobile.weights import sha256_of

if TYPE_CHECKING:
    import onnx

    from evit_mobile.tflite.description import ModelDescription


def convert(
    model: str, out: Path, options: ConvertOptions = ConvertOptions(), *, keep_onnx: Path | None = None
) -> ConversionReport:
    """Convert what ``model`` names and write it to ``out``; from the cache where the same was made before.

    ``keep_onnx`` gets the ONNX graph as it went into the lowering (and the conversion is made anew).

    Raises:
        RequestError: see ``load_source``, ``export_onnx``, ``check_precision`` and ``in_precision``.
        MachineError: see ``lower``.
    """
    check_precision(options)
    place = cache_path(model, options)
    report = report_of(place) if place is not None and keep_onnx is None else None
    if place is not None and report is not None:
        with whole_file(out) as temporary:
            shutil.copyfile(place, temporary)
        return dataclasses.replace(report, out=str(out), cached=True)
    report = _convert(model, out, options, keep_onnx)
    if place is not None:
        store(out, report, place)
    return report


def convert_cached(model: str, options: ConvertOptions = ConvertOptions()) -> Path:
    """The path of a conversion in the cache, made if it is not there yet. Not to be changed by the caller."""
    check_precision(options)
    place = cache_path(model, options)
    if place is not None and report_of(place) is not None:
        return place
    target = (
        place or cache_folder("models") / f"{hashlib.sha256(f'{model} {options}'.encode()).hexdigest()[:16]}.tflite"
    )
    report = _convert(model, target, options, None)
    store(target, report, target)
    return target


def _convert(model: str, out: Path, options: ConvertOptions, keep_onnx: Path | None) -> ConversionReport:
    import onnx

    from converters.lowering.lower import Lowering

    seconds: dict[str, float] = {}
    with Lowering(simplify=not options.rewrite) as lowering:
        with _timed(seconds, "build"):
            source = load_source(model, options.resolution, options.weights, options.seed, options.inputs)
        with _timed(seconds, "export"):
            from converters.source.export import export_source

            exported = export_source(source)
            stock = exported.model
        with _timed(seconds, "passes"):
            graph, passes = rewritten(stock, options)
        if keep_onnx is not None:
            with whole_file(keep_onnx) as temporary:
                onnx.save(graph, temporary)
        with _timed(seconds, "lower"):
            content = lowering.lower(graph)
    with _timed(seconds, "ranges"):
        ranges = attention_ranges(graph, source.preprocessing)
    with _timed(seconds, "quantise"):
        made = in_precision(content, source, options)
    with _timed(seconds, "write"):
        from converters.tflite.metadata import describe

        description = _description(source, options, stock, made)
        content = describe(made.content, description, labels_for(source.task), minimum_runtime_version(made.content))
        with whole_file(out) as temporary:
            temporary.write_bytes(content)
    return ConversionReport(
        model=model,
        out=str(out),
        resolution=description.resolution,
        precision=options.precision,
        cached=False,
        sha256=hashlib.sha256(content).hexdigest(),
        bytes_onnx=stock.ByteSize(),
        bytes_tflite=len(content),
        onnx_ops_before=_onnx_ops(stock),
        onnx_ops_after=_onnx_ops(graph),
        tflite_ops=_tflite_ops(content),
        passes=passes,
        plan=[item.to_json() for item in made.plan],
        attention=[dataclasses.asdict(item) for item in ranges],
        warnings=_warnings(source) + list(exported.warnings) + range_warnings(ranges) + made.warnings,
        versions=description.versions,
        seconds=seconds,
    )


def rewritten(stock: onnx.ModelProto, options: ConvertOptions) -> tuple[onnx.ModelProto, list[dict[str, Any]]]:
    """``stock`` after the passes, and their reports; ``stock`` itself where no rewrite is wanted."""
    if not options.rewrite:
        return stock, []
    import onnx_ir as ir

    from converters.passes import default_passes, run_passes

    model = ir.from_proto(stock)
    reports = run_passes(model, Target(precision=options.precision), default_passes(options.attention_form))
    return ir.to_proto(model), [report.to_json() for report in reports]


def _description(
    source: Source, options: ConvertOptions, stock: onnx.ModelProto, made: InPrecision
) -> ModelDescription:
    from evit_mobile.tflite.description import ModelDescription

    return ModelDescription(
        model=source.name if source.onnx_path is None else source.onnx_path.name,
        task=source.task,
        resolution=_resolution_of(stock),
        precision=options.precision,
        seed=options.seed,
        rewrite=options.rewrite,
        attention_form=options.attention_form,
        weights_sha256=sha256_of(options.weights) if options.weights else None,
        onnx_sha256=sha256_of(source.onnx_path) if source.onnx_path else None,
        preprocessing=source.preprocessing,
        versions=versions(),
        quantisation=made.quantisation,
        input_shapes=source.shapes,
        channels=options.inputs.channels,
        exporter=source.exporter,
    )


def _resolution_of(stock: onnx.ModelProto) -> str:
    """HxW of the first input, or its whole shape where it is not an image."""
    from converters.source.onnx_file import graph_inputs

    shape = [dim.dim_value for dim in graph_inputs(stock)[0].type.tensor_type.shape.dim]
    return str(Resolution(shape[2], shape[3])) if len(shape) == 4 else str(shape)


def _warnings(source: Source) -> list[str]:
    if source.seeded:
        return [
            f"{source.name} has random weights: its predictions mean nothing. --weights FILE gives it trained ones."
        ]
    return []


def _onnx_ops(model: onnx.ModelProto) -> dict[str, int]:
    return dict(Counter(node.op_type for node in model.graph.node if node.op_type != "Constant").most_common())


def _tflite_ops(content: bytes) -> dict[str, int]:
    from evit_mobile.tflite.flatbuffer import unpack
    from evit_mobile.tflite.graph import graph_of

    return dict(Counter(op.type for op in graph_of(unpack(content)).ops).most_common())


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[stage] = round(time.perf_counter() - start, 3)
