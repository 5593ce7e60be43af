"""What a conversion can be asked for, and what it reports."""

from __future__ import annotations

import dataclasses
import importlib.metadata
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from converters.source.inputs import InputRequest
from evit_mobile import __version__
from evit_mobile.specs import IoType, Precision, Resolution

#: Packages whose version can change what a conversion gives.
VERSIONED = ("torch", "onnx", "onnx-ir", "onnxscript", "onnx2tf", "numpy", "flatbuffers", "timm")


@dataclass(frozen=True)
class ConvertOptions:
    """What a conversion can be asked for; see ``evit-mobile convert --help``.

    ``calibration`` is what ``converters.quantize.calibration.open_calibration`` takes.
    """

    resolution: Resolution | None = None
    weights: Path | None = None
    precision: Precision = Precision.FP32
    seed: int = 0
    rewrite: bool = True
    attention_form: str = "auto"
    calibration: str | None = None
    io_type: IoType = IoType.FLOAT32
    inputs: InputRequest = InputRequest()


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


def versions() -> dict[str, str]:
    """Versions of what takes part in a conversion, by package; an optional one that is not installed is left out."""
    found = {"evit-mobile": __version__}
    for name in VERSIONED:
        with suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found
