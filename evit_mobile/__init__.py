"""evit-mobile: EfficientViT from PyTorch to one XNNPACK partition, with the proof and the latency curve.

The public names are those of ``evit_mobile.api``; they are imported when they are first used, so that importing this
package is cheap.

Example:
    >>> import evit_mobile as em
    >>> result = em.convert("base-r192", resolution=96)
    >>> result.report.resolution
    '96'
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    # The values that these take and give.
    from android_bench.device import DeviceOptions
    from converters.options import ConvertOptions
    from converters.parity.verify import ParityReport
    from converters.report import Conversion, ConversionReport
    from converters.tflite.inspection import Inspection
    from evit_mobile.advice import Advice, Place, Requirement
    from evit_mobile.api import Model, advise, bench, convert, inspect, load, verify
    from evit_mobile.card import ModelCard
    from evit_mobile.errors import ClaimError, DeviceError, EvitMobileError, MachineError, RequestError
    from evit_mobile.results.record import ResultSet, RunSettings
    from evit_mobile.specs import Activation, Core, Ends, IoType, Pixels, Precision, Resolution

__version__ = "0.1.0"

__all__ = [
    "Activation",
    "Advice",
    "ClaimError",
    "Conversion",
    "ConversionReport",
    "ConvertOptions",
    "Core",
    "DeviceError",
    "DeviceOptions",
    "Ends",
    "EvitMobileError",
    "Inspection",
    "IoType",
    "MachineError",
    "Model",
    "ModelCard",
    "ParityReport",
    "Pixels",
    "Place",
    "Precision",
    "RequestError",
    "Requirement",
    "Resolution",
    "ResultSet",
    "RunSettings",
    "advise",
    "bench",
    "convert",
    "inspect",
    "load",
    "verify",
]

#: Where each public name is defined.
_HOMES = {
    "evit_mobile.advice": ("Advice", "Place", "Requirement"),
    "evit_mobile.api": ("Model", "advise", "bench", "convert", "inspect", "load", "verify"),
    "android_bench.device": ("DeviceOptions",),
    "evit_mobile.card": ("ModelCard",),
    "converters.options": ("ConvertOptions",),
    "converters.parity.verify": ("ParityReport",),
    "converters.report": ("Conversion", "ConversionReport"),
    "converters.tflite.inspection": ("Inspection",),
    "evit_mobile.errors": ("ClaimError", "DeviceError", "EvitMobileError", "MachineError", "RequestError"),
    "evit_mobile.results.record": ("ResultSet", "RunSettings"),
    "evit_mobile.specs": ("Activation", "Core", "Ends", "IoType", "Pixels", "Precision", "Resolution"),
}


def __getattr__(name: str) -> object:
    for home, names in _HOMES.items():
        if name in names:
            value: object = getattr(importlib.import_module(home), name)
            globals()[name] = value
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
