"""Networks converted and traced once, for estimates with many sets of constants."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

import joblib

from android_bench.emulator.device import open_qemu
from android_bench.estimate.devices import find_device
from android_bench.estimate.timing import Work
from android_bench.estimate.tools import find_llvm
from android_bench.estimate.works import trace, works_of
from converters.options import ConvertOptions
from converters.pipeline import convert_cached
from evit_mobile.files import cache_folder, whole_file
from evit_mobile.specs import Precision, Resolution
from evit_mobile.weights import sha256_of


def converted(model: str, precision: str = "fp32", resolution: str | None = None) -> Path:
    """The .tflite of a network with seeded weights; int8 by ranges of noise, as the work does not depend on values."""
    calibration = "benchmarks.arm64_budget:noise" if precision == "int8" else None
    size = Resolution.parse(resolution) if resolution is not None else None
    options = ConvertOptions(resolution=size, precision=Precision(precision), calibration=calibration)
    return convert_cached(model, options)


@functools.cache
def works(model: str, device: str, precision: str = "fp32", resolution: str | None = None) -> list[Work]:
    """The ops of one inference on a device, with their work; kept on disk, as it does not depend on the constants of time."""
    described = find_device(device)
    path = converted(model, precision, resolution)
    qemu, llvm = open_qemu(described.processor), find_llvm()
    tools = (sha256_of(qemu.root.tracer), sha256_of(qemu.root.runner), sha256_of(qemu.library), qemu.root.qemu_version)
    shapes = tuple((cache.bytes, cache.ways) for cache in described.caches)
    key = hashlib.sha256(repr((sha256_of(path), tools, llvm.version, described.schedule, shapes)).encode()).hexdigest()
    kept = cache_folder("estimate") / f"works-{key}.joblib"
    if kept.exists():
        loaded: list[Work] = joblib.load(kept)
        return loaded
    traced, ops = trace(qemu, path, described)
    made = works_of(traced, ops, llvm, described)
    with whole_file(kept) as temporary:
        joblib.dump(made, temporary)
    return made
