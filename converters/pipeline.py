"""From a model to a .tflite in memory: source, export, passes, lowering, precision, metadata."""

from __future__ import annotations

import contextlib
import hashlib
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from converters import onnx_reader
from converters.cache import kept, through_cache
from converters.check import REWRITES, Attempt, check_finished, right_attempt
from converters.code_hash import code_hash
from converters.options import ConvertOptions, versions
from converters.output_layout import with_output_layout
from converters.parity.expected import AnotherNetworkError, Expected
from converters.parity.layout import in_source_terms
from converters.passes.base import PassReport
from converters.quantize.attention_ranges import AttentionRange, attention_ranges
from converters.quantize.attention_ranges import warnings as range_warnings
from converters.quantize.precisions import InPrecision, check_inputs, check_precision, in_precision, settled
from converters.quantize.qdq import LEFT_OUT, take_apart
from converters.report import Conversion, ConversionReport
from converters.source.blame import file_at_fault
from converters.source.ends import with_ends
from converters.source.labels import Labels, labels_of
from converters.source.load import Source, load_source
from converters.source.onnx_file import input_size
from converters.source.torch_export import Exporter
from converters.stopwatch import Stopwatch
from evit_mobile.errors import EvitMobileError, RequestError
from evit_mobile.files import whole_file
from evit_mobile.models import trained_of
from evit_mobile.models.registry import check_name
from evit_mobile.specs import ModelName, OutputLayout, Precision, Target
from evit_mobile.text import visible
from evit_mobile.tflite.file import Tflite
from evit_mobile.tflite.graph import graph_of
from evit_mobile.tflite.versions import minimum_runtime_version
from evit_mobile.weights import sha256_of

if TYPE_CHECKING:
    import onnx

    from converters.lowering.lower import Lowering
    from converters.source.torch_export import Exported
    from evit_mobile.tflite.description import ModelDescription


def convert(model: str, out: Path, options: ConvertOptions = ConvertOptions()) -> ConversionReport:
    """Convert what ``model`` names and write it to ``out``; see ``convert_in_memory``."""
    conversion = convert_in_memory(model, options)
    conversion.save(out)
    return conversion.report


def convert_cached(model: str, options: ConvertOptions = ConvertOptions()) -> Path:
    """The path of a conversion in the cache, made if it is not there yet. Not to be changed by the caller."""
    options = with_bundled_weights(model, options)
    return kept(model, options, convert_in_memory(model, options))


def convert_in_memory(model: str | Source, options: ConvertOptions = ConvertOptions()) -> Conversion:
    """Convert a model; one that is given by name comes from the cache where the same was made before.

    Args:
        model: a name as ``--model`` takes it, or a network that is loaded already, which bypasses the cache.
        options: what is asked for.

    Raises:
        RequestError: see ``load_source``, ``export_source``, ``settled`` and ``in_precision``.
        ClaimError: what came out is wrong; see ``right_attempt`` and ``check_finished``.
        MachineError: see ``lower``.
    """
    if not isinstance(model, str):
        return _convert(model, options)
    check_name(model)
    if ModelName.parse(model).is_counted:  # any other may be quantised already, which its graph says
        check_precision(options)
    options = with_bundled_weights(model, options)
    with file_at_fault(Path(model) if ModelName.parse(model).kind == "onnx" else None):
        if options.keep_onnx is not None:
            return _convert(model, options)
        return through_cache(model, options, lambda: _convert(model, options))


def with_bundled_weights(model: str, options: ConvertOptions) -> ConvertOptions:
    """``options`` with the weights that come with the package, where ``model`` has such and no others are given."""
    trained = trained_of(model)
    return options if trained is None or options.weights is not None else replace(options, weights=trained.weights)


def _convert(model: str | Source, options: ConvertOptions) -> Conversion:
    """By PyTorch's other exporter where nobody chose one and the first wrote another network than the module."""
    try:
        return _made(model, options)
    except AnotherNetworkError:
        chosen = options.inputs.exporter if isinstance(model, str) else model.exporter
        if chosen is not Exporter.AUTO:
            raise
        options = replace(options, inputs=replace(options.inputs, exporter=Exporter.DYNAMO))
        model = model if isinstance(model, str) else replace(model, exporter=Exporter.DYNAMO)
        with contextlib.suppress(EvitMobileError):
            return _made(model, options)
        raise


def _made(model: str | Source, options: ConvertOptions) -> Conversion:
    from converters.lowering.lower import Lowering

    watch = Stopwatch()
    with Lowering(simplify=not options.rewrite) as lowering:
        with watch.stage("build"):
            source = with_ends(model if isinstance(model, Source) else _loaded(model, options), options.ends)
        _check_layout(source, options)
        with watch.stage("export"):
            from converters.source.export import export_source

            exported = export_source(source)
        quantised = take_apart(exported.model, source.name) if options.rewrite else None
        options = settled(options, source.name, quantised=quantised is not None)
        check_inputs(source, exported.model, options)
        labels = labels_of(source, exported.model)
        stock = exported.model if quantised is None else quantised.model
        with watch.stage("check"):
            # A module that rounds computes what its graph does with the roundings; here the graph is without.
            judged = source if quantised is None else replace(source, module=None)
            expected = Expected(judged, stock, options.output_layout) if options.check else None
            make = _Maker(source, stock, options, lowering, watch, LEFT_OUT if quantised else frozenset())
            attempt, dropped = right_attempt(make, expected, options.target) if expected else (make(frozenset()), [])
    with watch.stage("ranges"):
        # Only half precision has ranges that an attention can leave.
        ranges = attention_ranges(attempt.graph, source) if options.precision is Precision.FP16 else []
    with watch.stage("quantise"):
        result = in_precision(attempt.lowered, source, stock, options, quantised)
        precision = result.precision or options.target
    with watch.stage("write"):
        description = _description(source, options, exported.model, result)
        content = _described(result, description, labels)
    if expected is not None:
        with watch.stage("check"):
            if quantised is not None:
                expected = Expected(source, exported.model, options.output_layout)
            finished, half = Tflite(content, source.name), result.half or precision is Precision.FP16
            doubts = check_finished(finished, precision, expected, result.calibration_image, half=half)
            result = replace(result, warnings=[*result.warnings, *doubts])
    report = ConversionReport(
        model=source.name,
        resolution=description.resolution,
        precision=precision,
        cached=False,
        sha256=hashlib.sha256(content).hexdigest(),
        bytes_onnx=exported.model.ByteSize(),
        bytes_tflite=len(content),
        onnx_ops_before=_onnx_ops(exported.model),
        onnx_ops_after=_onnx_ops(attempt.graph),
        tflite_ops=dict(Counter(op.type for op in graph_of(result.tree).ops).most_common()),
        passes=attempt.passes,
        plan=result.plan,
        attention=ranges,
        warnings=[*dropped, *_warnings(source, exported, ranges, result)],
        versions=description.versions,
        seconds=watch.seconds(),
    )
    if options.keep_onnx is not None:
        _save_onnx(attempt.graph, options.keep_onnx)
    return Conversion(content, report, None if isinstance(model, str) else source, options.weights)


def _check_layout(source: Source, options: ConvertOptions) -> None:
    if source.channels_last and options.output_layout is OutputLayout.NCHW:
        hint = "leave out --output-layout nchw"
        raise RequestError(f"{source.name} gives its maps in NHWC, in PyTorch as in the file", hint=hint)


class _Maker:
    """Makes float32 models of one exported graph, by ``lowering`` the first time and by a new process from then on.
    ``never`` names passes that it does without.
    """

    def __init__(
        self,
        source: Source,
        stock: onnx.ModelProto,
        options: ConvertOptions,
        lowering: Lowering,
        watch: Stopwatch,
        never: frozenset[str],
    ) -> None:
        self._source, self._stock, self._options, self._watch = source, stock, options, watch
        self._never = never
        self._lowering: Lowering | None = lowering

    def __call__(self, left_out: frozenset[str]) -> Attempt:
        with self._watch.stage("passes"):
            graph, passes = _rewritten(self._source, self._stock, self._options, left_out | self._never)
        with self._watch.stage("lower"):
            lowered = Tflite(self._lower(graph, rewrites=REWRITES not in left_out), self._source.name)
            layout = in_source_terms(self._options.output_layout, channels_last=self._source.channels_last)
            return Attempt(graph, passes, with_output_layout(lowered, self._source, self._stock, layout))

    def _lower(self, graph: onnx.ModelProto, *, rewrites: bool) -> bytes:
        from converters.lowering.lower import Lowering

        lowering, self._lowering = self._lowering, None
        # Integers take a quarter of the place already, and a product of them is not exact.
        factored = self._options.rewrite and self._options.target in (Precision.FP32, Precision.FP16)
        if lowering is not None and rewrites:
            lowering.begin(graph)
            _load_what_comes_next(check=self._options.check)
            return lowering.finish(factored=factored)
        with Lowering(simplify=not self._options.rewrite, rewrites=rewrites) as another:
            return another.lower(graph, factored=factored)


def _load_what_comes_next(*, check: bool) -> None:
    """Imports of the last stages, the hash that the cache asks for, and the processes that run what is made: the
    lowering's own process leaves a core to them.
    """
    from ai_edge_litert import schema_py_generated  # noqa: F401

    from converters.tflite import metadata  # noqa: F401
    from evit_mobile.runtimes.litert import LITERT

    code_hash()
    if check:
        LITERT.warm_up(2)


def _loaded(model: str, options: ConvertOptions) -> Source:
    return load_source(model, options.resolution, options.weights, options.seed, options.inputs, options.card)


def _rewritten(
    source: Source, stock: onnx.ModelProto, options: ConvertOptions, left_out: frozenset[str]
) -> tuple[onnx.ModelProto, list[PassReport]]:
    """``stock`` after the passes but those whose names are ``left_out``, and their reports; ``stock`` itself without a
    rewrite.
    """
    if not options.rewrite:
        return stock, []
    target = Target(options.target, core=options.core, token_ratio=options.token_ratio)
    if source.onnx_path is not None:
        return onnx_reader.rewrite(stock, source.name, options.attention_form, target, left_out)
    from converters.rewriting import rewrite

    return rewrite(stock, options.attention_form, target, left_out)


def _save_onnx(graph: onnx.ModelProto, path: Path) -> None:
    import onnx

    with whole_file(path) as temporary:
        onnx.save(graph, temporary)


def _described(result: InPrecision, description: ModelDescription, labels: Labels | None) -> bytes:
    from converters.tflite.metadata import describe

    return describe(result.tree, description, labels, minimum_runtime_version(result.tree))


def _description(
    source: Source, options: ConvertOptions, stock: onnx.ModelProto, result: InPrecision
) -> ModelDescription:
    from evit_mobile.tflite.description import ModelDescription

    return ModelDescription(
        model=source.name if source.onnx_path is None else visible(source.onnx_path.name),
        task=source.task,
        resolution=input_size(stock),
        precision=result.precision or options.target,
        half=result.half,
        seed=options.seed,
        rewrite=options.rewrite,
        attention_form=options.attention_form,
        core=options.core,
        weights_sha256=sha256_of(options.weights) if options.weights else None,
        onnx_sha256=sha256_of(source.onnx_path) if source.onnx_path else None,
        from_module=source.from_module,
        preprocessing=source.preprocessing,
        versions=versions(),
        quantisation=result.quantisation,
        input_shapes=source.shapes,
        channels=options.inputs.channels,
        exporter=source.exporter,
        output_layout=options.output_layout,
        classes=options.card.classes,
        labels=source.labels,
        ends=source.ends,
        network_preprocessing=source.network_preprocessing,
    )


def _warnings(source: Source, exported: Exported, ranges: list[AttentionRange], result: InPrecision) -> list[str]:
    warnings = [*exported.warnings, *range_warnings(ranges), *result.warnings]
    if source.seeded:
        hint = "--weights FILE gives it trained ones."
        warnings.insert(0, f"{source.name} has random weights: its predictions mean nothing. {hint}")
    return warnings


def _onnx_ops(model: onnx.ModelProto) -> dict[str, int]:
    return dict(Counter(node.op_type for node in model.graph.node if node.op_type != "Constant").most_common())
