"""A cache in front of the conversion: <key>.tflite beside <key>.json, its report. The key covers everything that
decides the bytes.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable
from pathlib import Path

from converters.code_hash import code_hash, model_code_hash
from converters.options import ConvertOptions, versions
from converters.quantize.calibration import fingerprint
from converters.report import Conversion, ConversionReport
from evit_mobile.files import cache_folder, whole_file
from evit_mobile.specs import ModelName
from evit_mobile.weights import sha256_of


def through_cache(model: str, options: ConvertOptions, convert: Callable[[], Conversion]) -> Conversion:
    """The conversion that was made of the same before, else what ``convert`` gives, kept for the next time."""
    conversion = None
    # Nothing can be found in an empty cache, and the key takes a hash that is quicker to make while the conversion
    # waits.
    if any(cache_folder("models").glob("*.json")) and (path := cache_path(model, options)) is not None:
        conversion = read(path)
    if conversion is not None:
        return dataclasses.replace(conversion, weights=options.weights)
    conversion = convert()
    if (path := cache_path(model, options)) is not None:
        write(path, conversion)
    return conversion


def kept(model: str, options: ConvertOptions, conversion: Conversion) -> Path:
    """The path of ``conversion`` in this machine's cache, written if it is not there yet. Not to be changed by the
    caller.
    """
    path = cache_path(model, options) or cache_folder("models") / f"{conversion.report.sha256[:32]}.tflite"
    if read(path) is None:
        write(path, conversion)
    return path


def cache_path(model: str, options: ConvertOptions) -> Path | None:
    """Where the conversion is kept; None where its code or data may change without a trace.

    That is so for a factory, a generator of calibration data, and a model that was registered by code whose files
    cannot be found.
    """
    name = ModelName.parse(model)
    code = model_code_hash(name)
    data = fingerprint(options.calibration) if options.calibration is not None else ""
    if code is None or data is None:
        return None
    files = [path for path in (options.weights, Path(model) if name.kind == "onnx" else None) if path is not None]
    if not all(path.is_file() for path in files):
        return None
    key = json.dumps(
        {
            "model": model,
            "options": {**dataclasses.asdict(options), "weights": None, "calibration": data},
            "files": [sha256_of(path) for path in files],
            "versions": versions(),
            "code": [code_hash(), code],
        },
        sort_keys=True,
        default=str,
    )
    return cache_folder("models") / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.tflite"


def read(path: Path) -> Conversion | None:
    """What is kept at ``path``; None where the model or its report is missing or is not what was stored."""
    try:
        report, content = ConversionReport.from_json(path.with_suffix(".json").read_text()), path.read_bytes()
    except (OSError, ValueError):
        return None
    if hashlib.sha256(content).hexdigest() != report.sha256:
        return None
    return Conversion(content, dataclasses.replace(report, cached=True))


def write(path: Path, conversion: Conversion) -> None:
    """Keep ``conversion`` at ``path``."""
    conversion.save(path)
    with whole_file(path.with_suffix(".json")) as temporary:
        temporary.write_text(json.dumps(conversion.report.to_json()))
