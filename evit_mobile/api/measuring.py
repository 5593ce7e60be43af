"""``bench``: latency of models on one device."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from converters.report import Conversion
from evit_mobile.api.checks import tflite_of
from evit_mobile.api.conversion import convert
from evit_mobile.errors import RequestError

if TYPE_CHECKING:
    from android_bench.device import DeviceOptions
    from android_bench.suites.rounds import Candidate
    from evit_mobile.results.record import ResultSet, RunSettings


def bench(
    models: Sequence[Conversion | Path | str],
    device: str = "host",
    *,
    settings: RunSettings | None = None,
    options: DeviceOptions | None = None,
) -> ResultSet:
    """Measure models in turn on one device.

    Args:
        models: conversions, paths of .tflite files, or names of models, which are converted. Ratios are to the first.
        device: ``"host"``, ``"adb"``, ``"adb:SERIAL"`` or ``"qemu:CPU"``.
        settings: threads, cores, rounds and runs; None takes the device's own.
        options: what else the device can be told.

    Returns:
        Every sample; ``evit_mobile.results.files.save`` writes it as a result file.

    Raises:
        RequestError: a model, the device's name or a setting cannot be used.
        DeviceError: the device is absent or went away. A model whose run failed has its error in its point.

    Examples:
        >>> import evit_mobile as em
        >>> conversion = em.convert("base-r192", resolution=96)
        >>> results = em.bench([conversion], settings=em.RunSettings(runs=4, rounds=2, min_time_s=0))
        >>> [(point.name, len(point.rounds)) for point in results.points]
        [('base-r192', 2)]
    """
    from datetime import UTC, datetime

    from android_bench.device import DeviceOptions, kind_of, open_device
    from android_bench.suites.resume import begin, sweep
    from evit_mobile.campaign import distinct_names

    if isinstance(models, (str, Path, Conversion)) or not models:
        raise RequestError("there is no model to measure", hint="give a list of conversions, paths or names")
    options = options or DeviceOptions()
    opened = open_device(device, options)
    results = begin(opened, datetime.now(UTC), ("evit_mobile.bench", device), None)
    with contextlib.ExitStack() as stack:
        candidates = [_candidate(model, options.runtime, stack) for model in models]
        names = distinct_names([candidate.name for candidate in candidates])
        candidates = [dataclasses.replace(candidate, name=name) for candidate, name in zip(candidates, names)]
        for points in sweep(opened, candidates, [settings or kind_of(device).settings]):
            results = results.with_points(points)
    return results


def _candidate(model: Conversion | Path | str, runtime: str, stack: contextlib.ExitStack) -> Candidate:
    from evit_mobile.campaign import candidate_of

    if isinstance(model, str) and not model.endswith(".tflite"):
        model = convert(model)
    file = tflite_of(model)
    name = model.report.model if isinstance(model, Conversion) else Path(model).stem
    return candidate_of(name, stack.enter_context(file.on_disk()), file, runtime)
