"""Models as candidates for a measurement, with what is known of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from android_bench.suites.rounds import Candidate
from android_bench.suites.schema import SuitePoint
from evit_mobile.results.record import Point, RunSettings
from evit_mobile.runtimes import find_runtime

if TYPE_CHECKING:
    from converters.batch import Made
    from evit_mobile.tflite.file import Tflite


def candidate_of(name: str, path: Path, file: Tflite, runtime: str) -> Candidate:
    """The .tflite at ``path`` as something to measure, with its counts under ``runtime``.

    Raises:
        RequestError: there is no such runtime, or it cannot load the file.
        MachineError: the runtime is not installed, or crashed.
    """
    from converters.tflite.inspection import inspect_model

    inspection = inspect_model(file, find_runtime(runtime), explain=False)
    description = inspection.description
    return Candidate(
        name,
        path,
        resolution=description.resolution if description else None,
        precision=description.precision if description else None,
        ops=inspection.op_total,
        partitions=inspection.partitions,
        undelegated_ops=len(inspection.undelegated),
    )


def sort_out(
    points: Sequence[SuitePoint], made: Mapping[str, Made], limit_bytes: int, settings: RunSettings
) -> tuple[list[Candidate], list[Point]]:
    """The candidates to measure, and the points that are not measured: counted only, too large, or not converted."""
    candidates, others = [], []
    for point in points:
        outcome, resolution = made[point.name], str(point.resolution)
        place = point.place.evolve(macs=outcome.macs, memory_bytes=outcome.memory_bytes)
        too_large = outcome.too_large or (outcome.memory_bytes or 0) > limit_bytes
        if outcome.path is not None and not too_large:
            candidates.append(replace(converted_candidate(point.name, resolution, outcome.path, outcome), place=place))
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


def converted_candidate(name: str, resolution: str, path: Path, made: Made) -> Candidate:
    """The candidate that a conversion made."""
    return Candidate(name, path, resolution, made.precision, made.ops, made.partitions, made.undelegated_ops)
