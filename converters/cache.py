"""Conversions that were made before: <key>.tflite beside <key>.json, its report. The key covers everything that decides the bytes."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from pathlib import Path

from converters.code_hash import code_hash
from converters.options import ConversionReport, ConvertOptions, versions
from converters.quantize.calibration import fingerprint
from evit_mobile.files import cache_folder, whole_file
from evit_mobile.specs import ModelName
from evit_mobile.weights import sha256_of


def read_cached(path: Path) -> tuple[bytes, str]:
    """A file that ``convert_cached`` gave, and its report, for ``keep_cached`` on another machine."""
    return path.read_bytes(), path.with_suffix(".json").read_text()


def keep_cached(model: str, options: ConvertOptions, content: bytes, report: str) -> Path:
    """Put a conversion that was made elsewhere into this machine's cache, and give its path here."""
    name = f"{hashlib.sha256(content).hexdigest()[:32]}.tflite"
    target = cache_path(model, options) or cache_folder("models") / name
    if report_of(target) is None:
        for path, data in ((target, content), (target.with_suffix(".json"), report.encode())):
            with whole_file(path) as temporary:
                temporary.write_bytes(data)
    return target


def cache_path(model: str, options: ConvertOptions) -> Path | None:
    """Where the conversion is kept; None for a factory or a generator of calibration data, whose code may change without a trace."""
    name = ModelName.parse(model)
    if name.kind == "factory":
        return None
    seen = fingerprint(options.calibration) if options.calibration is not None else ""
    if seen is None:
        return None
    files = [path for path in (options.weights, Path(model) if name.kind == "onnx" else None) if path is not None]
    if not all(path.is_file() for path in files):
        return None
    key = json.dumps(
        {
            "model": model,
            "options": {**dataclasses.asdict(options), "weights": None, "calibration": seen},
            "files": [sha256_of(path) for path in files],
            "versions": versions(),
            "code": code_hash(),
        },
        sort_keys=True,
        default=str,
    )
    return cache_folder("models") / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.tflite"


def report_of(cached: Path) -> ConversionReport | None:
    """The report beside a cached model; None where either is missing or is not what was stored."""
    try:
        report = ConversionReport(**json.loads(cached.with_suffix(".json").read_text()))
        return report if sha256_of(cached) == report.sha256 else None
    except (OSError, ValueError, TypeError):
        return None


def store(made: Path, report: ConversionReport, target: Path) -> None:
    if made != target:
        with whole_file(target) as temporary:
            shutil.copyfile(made, temporary)
    with whole_file(target.with_suffix(".json")) as temporary:
        temporary.write_text(json.dumps(report.to_json()))
