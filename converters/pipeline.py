"""From ``--model`` to a .tflite: source, export, passes, lowering, metadata; with a report, and a cache that bench and tests share."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
import json
import shutil
import time
from collections import Counter
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Iterator

from converters.attention_ranges import attention_ranges
from converters.attention_ranges import warnings as range_warnings
from converters.calibration import fingerprint
from converters.code_hash import code_hash
from converters.precision import InPrecision, check_precision, in_precision
from converters.source import Source, load_source
from evit_mobile import __version__
from evit_mobile.files import cache_folder, whole_file
from evit_mobile.models.labels import labels_for
from evit_mobile.models.zoo import PREFIX
from evit_mobile.runtimes.versions import minimum_runtime_version
from evit_mobile.specs import IoType, Precision, Resolution, Target
from evit_mobile.weights import sha256_of

if TYPE_CHECKING:
    import onnx

    from converters.metadata import ModelDescription

#: Packages whose version can change what a conversion gives.
VERSIONED = ("torch", "onnx", "onnx-ir", "onnxscript", "onnx2tf", "numpy", "flatbuffers", "timm")


@dataclass(frozen=True)
class ConvertOptions:
    """What a conversion can be asked for; see ``evit-mobile convert --help``.

    ``calibration`` is what ``converters.calibration.open_calibration`` takes.
    """

    resolution: Resolution | None = None
    weights: Path | None = None
    precision: Precision = Precision.FP32
    seed: int = 0
    rewrite: bool = True
    attention_form: str = "auto"
    calibration: str | None = None
    io_type: IoType = IoType.FLOAT32


@dataclass
class ConversionReport:
    """What happened. Sizes in bytes, times in seconds, ops as type -> count; ``plan`` says of each op why it is in int8 or float."""

    model: str
    out: str
    resolution: str
    precision: str
    cached: bool
    sha256: str
    bytes_onnx: int
    bytes_tflite: int
    onnx_ops_before: dict[str, int]
    onnx_ops_after: dict[str, int]
    tflite_ops: dict[str, int]
    passes: list[dict[str, Any]]
    plan: list[dict[str, Any]]
    attention: list[dict[str, Any]]
    warnings: list[str]
    versions: dict[str, str]
    seconds: dict[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The report as plain values."""
        return dataclasses.asdict(self)


def convert(model: str, out: Path, options: ConvertOptions = ConvertOptions(), *, keep_onnx: Path | None = None) -> ConversionReport:
    """Convert what ``model`` names and write it to ``out``; from the cache where the same was made before.

    ``keep_onnx`` gets the ONNX graph as it went into the lowering (and the conversion is made anew).

    Raises:
        RequestError: see ``load_source``, ``export_onnx``, ``check_precision`` and ``in_precision``.
        MachineError: see ``lower``.
    """
    check_precision(options)
    place = _cache_path(model, options)
    report = _report_of(place) if place is not None and keep_onnx is None else None
    if place is not None and report is not None:
        with whole_file(out) as temporary:
            shutil.copyfile(place, temporary)
        return dataclasses.replace(report, out=str(out), cached=True)
    report = _convert(model, out, options, keep_onnx)
    if place is not None:
        _store(out, report, place)
    return report


def convert_cached(model: str, options: ConvertOptions = ConvertOptions()) -> Path:
    """The path of a conversion in the cache, made if it is not there yet. Not to be changed by the caller."""
    check_precision(options)
    place = _cache_path(model, options)
    if place is not None and _report_of(place) is not None:
        return place
    target = place or cache_folder("models") / f"{hashlib.sha256(f'{model} {options}'.encode()).hexdigest()[:16]}.tflite"
    report = _convert(model, target, options, None)
    _store(target, report, target)
    return target


def read_cached(path: Path) -> tuple[bytes, str]:
    """A file that ``convert_cached`` gave, and its report, for ``keep_cached`` on another machine."""
    return path.read_bytes(), path.with_suffix(".json").read_text()


def keep_cached(model: str, options: ConvertOptions, content: bytes, report: str) -> Path:
    """Put a conversion that was made elsewhere into this machine's cache, and give its path here."""
    name = f"{hashlib.sha256(content).hexdigest()[:32]}.tflite"
    target = _cache_path(model, options) or cache_folder("models") / name
    if _report_of(target) is None:
        for path, data in ((target, content), (target.with_suffix(".json"), report.encode())):
            with whole_file(path) as temporary:
                temporary.write_bytes(data)
    return target


def _convert(model: str, out: Path, options: ConvertOptions, keep_onnx: Path | None) -> ConversionReport:
    import onnx

    from converters.lower import Lowering

    seconds: dict[str, float] = {}
    with Lowering(simplify=not options.rewrite) as lowering:
        with _timed(seconds, "build"):
            source = load_source(model, options.resolution, options.weights, options.seed)
        with _timed(seconds, "export"):
            from converters.export import export_onnx

            stock = export_onnx(source)
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
        from converters.metadata import describe

        description = _description(source, options, stock, made)
        content = describe(made.content, description, labels_for(source.task), minimum_runtime_version(made.content))
        with whole_file(out) as temporary:
            temporary.write_bytes(content)
    return ConversionReport(
        model=model, out=str(out), resolution=description.resolution, precision=options.precision, cached=False,
        sha256=hashlib.sha256(content).hexdigest(), bytes_onnx=stock.ByteSize(), bytes_tflite=len(content),
        onnx_ops_before=_onnx_ops(stock), onnx_ops_after=_onnx_ops(graph), tflite_ops=_tflite_ops(content), passes=passes,
        plan=[item.to_json() for item in made.plan], attention=[dataclasses.asdict(item) for item in ranges],
        warnings=_warnings(source) + range_warnings(ranges) + made.warnings, versions=description.versions, seconds=seconds,
    )  # fmt: skip


def rewritten(stock: onnx.ModelProto, options: ConvertOptions) -> tuple[onnx.ModelProto, list[dict[str, Any]]]:
    """``stock`` after the passes, and their reports; ``stock`` itself where no rewrite is wanted."""
    if not options.rewrite:
        return stock, []
    import onnx_ir as ir

    from converters.passes import run_passes

    model = ir.from_proto(stock)
    reports = run_passes(model, Target(precision=options.precision), options.attention_form)
    return ir.to_proto(model), [report.as_dict() for report in reports]


def _description(source: Source, options: ConvertOptions, stock: onnx.ModelProto, made: InPrecision) -> ModelDescription:
    from converters.metadata import ModelDescription

    image = stock.graph.input[0].type.tensor_type.shape.dim
    return ModelDescription(
        model=source.name if source.onnx_path is None else source.onnx_path.name,
        task=source.task,
        resolution=str(Resolution(image[2].dim_value, image[3].dim_value)),
        precision=options.precision,
        seed=options.seed,
        rewrite=options.rewrite,
        attention_form=options.attention_form,
        weights_sha256=sha256_of(options.weights) if options.weights else None,
        onnx_sha256=sha256_of(source.onnx_path) if source.onnx_path else None,
        preprocessing=source.preprocessing,
        versions=versions(),
        quantisation=made.quantisation,
    )


def _warnings(source: Source) -> list[str]:
    if source.seeded:
        return [f"{source.name} has random weights: its predictions mean nothing. --weights FILE gives it trained ones."]
    return []


def versions() -> dict[str, str]:
    """Versions of what takes part in a conversion, by package; an optional one that is not installed is left out."""
    found = {"evit-mobile": __version__}
    for name in VERSIONED:
        with suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def _onnx_ops(model: onnx.ModelProto) -> dict[str, int]:
    return dict(Counter(node.op_type for node in model.graph.node if node.op_type != "Constant").most_common())


def _tflite_ops(content: bytes) -> dict[str, int]:
    from converters.metadata import read_model
    from converters.tflite_graph import graph_of

    return dict(Counter(op.type for op in graph_of(read_model(content)).ops).most_common())


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[stage] = round(time.perf_counter() - start, 3)


# The cache: <key>.tflite beside <key>.json, its report. The key covers everything that decides the bytes.


def _cache_path(model: str, options: ConvertOptions) -> Path | None:
    """Where the conversion is kept; None for a factory or a generator of calibration data, whose code may change without a trace."""
    if ":" in model and not model.startswith(PREFIX) and not model.endswith(".onnx"):
        return None
    seen = fingerprint(options.calibration) if options.calibration is not None else ""
    if seen is None:
        return None
    files = [path for path in (options.weights, Path(model) if model.endswith(".onnx") else None) if path is not None]
    if not all(path.is_file() for path in files):
        return None
    key = json.dumps(
        {"model": model, "options": {**dataclasses.asdict(options), "weights": None, "calibration": seen},
         "files": [sha256_of(path) for path in files], "versions": versions(), "code": code_hash()},
        sort_keys=True, default=str,
    )  # fmt: skip
    return cache_folder("models") / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.tflite"


def _report_of(cached: Path) -> ConversionReport | None:
    """The report beside a cached model; None where either is missing or is not what was stored."""
    try:
        report = ConversionReport(**json.loads(cached.with_suffix(".json").read_text()))
        return report if sha256_of(cached) == report.sha256 else None
    except (OSError, ValueError, TypeError):
        return None


def _store(made: Path, report: ConversionReport, target: Path) -> None:
    if made != target:
        with whole_file(target) as temporary:
            shutil.copyfile(made, temporary)
    with whole_file(target.with_suffix(".json")) as temporary:
        temporary.write_text(json.dumps(report.to_json()))
