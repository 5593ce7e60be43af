"""Models as candidates for a measurement, with what is known of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from android_bench.suites.rounds import Candidate
from android_bench.suites.schema import SuitePoint
from evit_mobile.results.record import Point, RunSettings
from evit_mobile.runtimes import find_runtime

if TYPE_CHECKING:
    from converters.batch import TaskOutcome
    from evit_mobile.tflite.file import Tflite


def distinct_names(names: Sequence[str]) -> list[str]:
    """The names with a number after each that was there before: a, b, a (2)."""
    counts: Counter[str] = Counter()
    distinct = []
    for name in names:
        counts[name] += 1
        distinct.append(name if counts[name] == 1 else f"{name} ({counts[name]})")
    return distinct


def candidate_of(name: str, path: Path, file: Tflite, runtime: str) -> Candidate:
    """The .tflite at ``path`` as something to measure, with its counts under ``runtime``.

    Raises:
        RequestError: there is no such runtime, or it cannot load the file.
        MachineError: the runtime is not installed, or crashed.
    """
    from converters.tflite.inspection import inspect_model

    inspection = inspect_model(file, find_runtime(runtime), explain=False)
    description = inspection.description
    return Candidate(name, path, description.resolution if description else None, inspection.content)


def sort_out(
    points: Sequence[SuitePoint], outcomes: Mapping[str, TaskOutcome], limit_bytes: int, settings: RunSettings
) -> tuple[list[Candidate], list[Point]]:
    """The candidates to measure, and the points that are not measured: counted only, too large, or not converted."""
    candidates, others = [], []
    for point in points:
        outcome, resolution = outcomes[point.name], str(point.resolution)
        place = point.place.evolve(macs=outcome.macs, memory_bytes=outcome.memory_bytes)
        too_large = outcome.too_large or (outcome.memory_bytes or 0) > limit_bytes
        if outcome.path is not None and not too_large:
            candidates.append(Candidate(point.name, outcome.path, resolution, outcome.content, place))
            continue
        needs = f"needs about {(outcome.memory_bytes or 0) / 1e9:.2f} GB" if too_large else None
        others.append(
            Point(
                name=point.name,
                resolution=resolution,
                settings=settings,
                place=place,
                error=outcome.error or needs,
                limit="does not fit" if too_large else None,
            )
        )
    return candidates, others
