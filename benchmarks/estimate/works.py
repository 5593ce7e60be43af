"""Networks converted and traced once, for estimates with many sets of constants."""

from __future__ import annotations

import functools
from pathlib import Path

from android_bench.emulator.device import open_qemu
from android_bench.estimate.devices import find_device
from android_bench.estimate.kept import kept_works
from android_bench.estimate.timing import Work
from android_bench.estimate.tools import find_llvm
from converters.options import ConvertOptions
from converters.pipeline import convert_cached
from evit_mobile.specs import Precision, Resolution


def converted(model: str, precision: str = "fp32", resolution: str | None = None) -> Path:
    """The .tflite of a network with seeded weights; int8 by ranges of noise, as the work does not depend on values."""
    calibration = "benchmarks.arm64_budget:noise" if precision == "int8" else None
    size = Resolution.parse(resolution) if resolution is not None else None
    options = ConvertOptions(resolution=size, precision=Precision(precision), calibration=calibration)
    return convert_cached(model, options)


@functools.cache
def works(model: str, device: str, precision: str = "fp32", resolution: str | None = None) -> list[Work]:
    """The ops of one inference on a device, with their work."""
    described = find_device(device)
    return kept_works(open_qemu(described.processor), find_llvm(), converted(model, precision, resolution), described)
