"""Of result files, what belongs to one .tflite: told by its hash, never by its name."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from android_bench.estimate.places import places
from evit_mobile.errors import RequestError
from evit_mobile.results.breakdown import ELSEWHERE, by_block
from evit_mobile.results.costs import BlockTimes
from evit_mobile.results.record import Point, ResultSet
from evit_mobile.results.summary import measured, rows, show, show_interval, unit
from evit_mobile.text import visible
from evit_mobile.tflite.file import Tflite

Results = Sequence[tuple[str, ResultSet]]


def of_file(file: Tflite, results: Results) -> Results:
    """``results`` with the points of ``file`` alone; without a suite, of whose curves one point is left.

    Raises:
        RequestError: a result file holds none.
    """
    # ``bench`` measures each signature by a copy of the file in which it comes first.
    hashes = {file.sha256, *(file.at(signature).sha256 for signature in file.alternatives)}
    return [(name, _only(hashes, file, name, result)) for name, result in results]


def _only(hashes: Collection[str], file: Tflite, name: str, result: ResultSet) -> ResultSet:
    points = tuple(point for point in result.points if point.model_sha256 in hashes)
    if not points:
        hint = "a result belongs to a file by its SHA-256: evit-mobile bench measures this one"
        raise RequestError(f"{name} holds nothing that was measured with {file.name}", hint=hint)
    names, timeline = {point.name for point in points}, result.timeline
    if timeline is not None:
        timeline = timeline.evolve(turns=tuple(turn for turn in timeline.turns if turn.point in names))
    return result.evolve(points=points, suite=None, references=(), timeline=timeline)


def latencies(results: Results, hashes: Collection[str]) -> Iterator[str]:
    """What each point took, in words that say how that is known."""
    for _, result in results:
        for row in rows([point for point in result.points if point.model_sha256 in hashes]):
            quantity = row.point.quantity
            if row.summary is None or quantity is None:
                continue
            threads = f", {row.point.settings.threads} threads" if row.point.settings.threads > 1 else ""
            interval = f" ({show_interval(quantity, row.summary.interval)})" if row.summary.interval else ""
            yield visible(
                f"{measured(result)}{threads}: {show(quantity, row.summary.median)} {unit(quantity)}{interval}"
            )


def times_of(results: Results, file: Tflite, hashes: Collection[str]) -> list[BlockTimes]:
    """The times by block of each device whose result has them: of one point, since threads change them."""
    found: dict[str, BlockTimes] = {}
    for _, result in results:
        for point in result.points:
            times = _times(point, file) if point.model_sha256 in hashes else {}
            if times:
                how = "estimated" if point.op_estimates else "under the profiler"
                label = f"time {how}, {result.device.soc}"
                found.setdefault(label, BlockTimes(label, times))
    return list(found.values())


def _times(point: Point, file: Tflite) -> dict[str, float]:
    """Microseconds by block; empty where the result has no times by op, or the file no blocks."""
    if point.op_estimates:
        return {part.name: part.estimated_us for part in by_block(point.op_estimates)}
    times: dict[str, float] = {}
    for op, place in zip(point.profile, places(point.profile, file), strict=True):
        name = place.block or ELSEWHERE
        times[name] = times.get(name, 0.0) + op.mean_us
    return times if set(times) != {ELSEWHERE} else {}
