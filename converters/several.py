"""One .tflite of one network at several resolutions: a signature for each, and weights that are stored once."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from converters.options import ConvertOptions
from converters.report import Conversion, ConversionReport
from evit_mobile.arrays import Array
from evit_mobile.errors import ClaimError, RequestError
from evit_mobile.runtimes import RUNTIMES
from evit_mobile.runtimes.inputs import random_input
from evit_mobile.specs import Precision, Resolution
from evit_mobile.tflite.description import MOST_SIGNATURES, OWN_ENTRY
from evit_mobile.tflite.file import Tflite
from evit_mobile.tflite.flatbuffer import pack
from evit_mobile.tflite.signatures import joined, refill, signature_of
from evit_mobile.tflite.versions import minimum_runtime_version


def _check_resolutions(resolutions: Sequence[Resolution]) -> None:
    """Refuse a list of resolutions that no file can have.

    Raises:
        RequestError: one is named twice, or there are more than MOST_SIGNATURES.
    """
    twice = [resolution for resolution, count in Counter(resolutions).items() if count > 1]
    if twice:
        raise RequestError(f"the resolution {twice[0]} is named twice")
    if len(resolutions) > MOST_SIGNATURES:
        raise RequestError(
            f"{len(resolutions)} resolutions are too many for one file", hint=f"at most {MOST_SIGNATURES}"
        )


def options_of(resolutions: Sequence[Resolution], options: ConvertOptions) -> list[ConvertOptions]:
    """``options`` of the conversion to each of ``resolutions``, such that the weights come out the same.

    Raises:
        RequestError: one is named twice, there are too many, or they ask for the one graph that went into the lowering.
    """
    _check_resolutions(resolutions)
    if options.keep_onnx is not None:
        raise RequestError("--keep-onnx takes one graph, and each resolution has its own", hint="leave it out")
    areas = [resolution.height * resolution.width for resolution in resolutions]
    middle = math.exp(sum(map(math.log, areas)) / len(areas))
    # Only half precision is scaled by the number of tokens.
    ratios = [middle / area if options.precision is Precision.FP16 else 1.0 for area in areas]
    return [
        dataclasses.replace(options, resolution=resolution, token_ratio=ratio)
        for resolution, ratio in zip(resolutions, ratios)
    ]


def merged(parts: Sequence[Conversion]) -> Conversion:
    """One conversion of those of a network at several resolutions; the first is what runs where no signature is named.

    Each was checked when it was made. What is checked here is that each signature gives, to the bit, what its own file
    gives.

    Raises:
        RequestError: what was converted has no resolution.
        ClaimError: a signature does not give what its own file gives.
    """
    named = {signature_of(part.report.resolution): part for part in parts}
    files = {key: Tflite(part.content, part.report.model) for key, part in named.items()}
    try:
        content = _joined(files)
    except ValueError as error:
        raise RequestError(
            f"{parts[0].report.model} has no resolution of its own: {parts[0].report.resolution}"
        ) from error
    whole = Tflite(content, parts[0].report.model)
    for key, file in files.items():
        _check_same(whole, key, file)
    return Conversion(content, _report(named, content), weights=parts[0].weights, parts=named)


def _joined(files: Mapping[str, Tflite]) -> bytes:
    from converters.tflite.metadata import RUNTIME_ENTRY, labels_in, runtime_content, with_labels

    first = next(iter(files.values()))
    descriptions = {key: file.description.model_dump(mode="json") for key, file in files.items() if file.description}
    base = next(iter(descriptions.values()))
    changes = {
        key: {name: value for name, value in fields.items() if value != base[name]}
        for key, fields in descriptions.items()
    }
    assert first.description is not None
    description = type(first.description).model_validate({**base, "signatures": changes})
    tree = joined({key: file.editable_tree() for key, file in files.items()})
    refill(tree, OWN_ENTRY, description.model_dump_json().encode())
    refill(tree, RUNTIME_ENTRY, runtime_content(minimum_runtime_version(tree) or ""))
    return with_labels(pack(tree, len(first.content)), labels_in(first.content))


def _check_same(whole: Tflite, signature: str, file: Tflite) -> None:
    expected, actual = _outputs(file, None), _outputs(whole, signature)
    for name, values in expected.items():
        if not np.array_equal(values, actual[name], equal_nan=values.dtype.kind == "f"):
            raise ClaimError(f"{whole.name}: output {name} of signature {signature} is not that of its own file")


def _outputs(file: Tflite, signature: str | None) -> dict[str, Array]:
    with file.on_disk() as path, RUNTIMES["litert"].open(path, signature=signature) as session:
        by_name = {info.name: random_input(info.shape, info.dtype) for info in session.inputs}
        return dict(zip(session.output_names(), session.run(list(by_name.values()))))


def _report(named: Mapping[str, Conversion], content: bytes) -> ConversionReport:
    reports = {key: part.report for key, part in named.items()}
    first, *_ = reports.values()
    stages = {stage for report in reports.values() for stage in report.seconds}
    return dataclasses.replace(
        first,
        resolution=", ".join(report.resolution for report in reports.values()),
        cached=all(report.cached for report in reports.values()),
        sha256=hashlib.sha256(content).hexdigest(),
        bytes_tflite=len(content),
        warnings=list(dict.fromkeys(text for report in reports.values() for text in report.warnings)),
        seconds={stage: sum(report.seconds.get(stage, 0.0) for report in reports.values()) for stage in sorted(stages)},
        signatures=reports,
    )
