"""Two result files of the same device and settings: what became slower or faster from one to the other.

A difference counts only if it is significant, however large it looks. Latencies are compared by a Mann-Whitney test
over rounds at 5 %, with p-values adjusted for the number of models (Benjamini and Hochberg), so that a file of twenty
models does not raise a false alarm each time. Instruction counts repeat, and differ if the counts of the two files do
not overlap.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from evit_mobile.errors import RequestError
from evit_mobile.results.content import Content
from evit_mobile.results.record import Point, Quantity, ResultSet, RunSettings
from evit_mobile.results.stats import CONFIDENCE, MIN_ROUNDS, Change, change
from evit_mobile.results.summary import label, title, verdict_of, warnings_of

#: What must agree for two devices to count as the same.
_DEVICE = ("kind", "soc", "abi", "instruction_sets", "cores", "emulated")
#: What may differ, and is reported.
_DEVICE_TOLD = ("name", "serial", "os_build", "memory_bytes")
#: What must agree for two measurements to be comparable; more or fewer rounds only change how certain they are.
_SETTINGS = ("threads", "cores", "runs", "warmup_runs", "min_time_s")


class Status(StrEnum):
    """The outcome for a point."""

    COMPARED = "compared"
    TOO_FEW_ROUNDS = "too few rounds"
    FAILED_AFTER = "failed after"
    FAILED_BEFORE = "failed before"
    FAILED_BOTH = "failed in both"
    ONLY_BEFORE = "only before"
    ONLY_AFTER = "only after"


@dataclass(frozen=True)
class Difference:
    """A point in both files, or in one. ``change`` is there where both measured it; ``p_value`` is adjusted.

    ``notes`` list other changes of the model, and reasons not to trust the figures.
    """

    label: str
    before: Point | None
    after: Point | None
    status: Status
    change: Change | None = None
    p_value: float | None = None
    is_significant: bool = False
    notes: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        """``slower``, ``faster``, ``more`` or ``fewer`` if the difference is significant, else empty."""
        quantity = self.after.quantity if self.after is not None else None
        if self.change is None or quantity is None or not self.is_significant or self.change.ratio == 1:
            return ""
        return verdict_of(quantity, self.change.ratio)

    def is_regression(self, limit: float) -> bool:
        """Whether it is significantly more than ``limit`` (0.05 is 5 %) slower, or measured before and not any more."""
        if self.status in (Status.FAILED_AFTER, Status.ONLY_BEFORE):
            return True
        return self.is_significant and self.change is not None and self.change.ratio > 1 + limit


@dataclass(frozen=True)
class Comparison:
    """Every point of both files, in the order of the second; ``notes`` hold for all of them."""

    differences: tuple[Difference, ...]
    notes: tuple[str, ...]


def compare(before: ResultSet, after: ResultSet, *, allow_unlike: bool = False) -> Comparison:
    """Compare point by point, by name and settings.

    Args:
        allow_unlike: compare other devices and settings too, and say what differs.

    Raises:
        RequestError: devices or settings are unlike and this is not allowed; the files measure different quantities; or
            they have no point in common.
    """
    quantities = [
        {point.quantity for point in results.points if point.quantity is not None} for results in (before, after)
    ]
    if quantities[0] and quantities[1] and quantities[0] != quantities[1]:
        raise RequestError(f"{_quantities(quantities[0])} and {_quantities(quantities[1])} cannot be compared")
    unlike = list(_differing(before, after, _DEVICE))
    pairs = _pairs(before.points, after.points)
    unlike += [text for one, other in pairs if one and other for text in _unlike_points(one, other)]
    if unlike and not allow_unlike:
        more = f", and {len(unlike) - 1} more" if len(unlike) > 1 else ""
        raise RequestError(
            f"the files differ in device or settings: {unlike[0]}{more}",
            hint="--allow-unlike compares them anyway",
        )
    if not any(one and other for one, other in pairs):
        raise RequestError(
            "the files have no model in common", hint="models are matched by name; see bench's --json for the names"
        )
    differences = _adjusted([_difference(one, other, before.points, after.points) for one, other in pairs])
    notes = [*(f"Unlike: {text}." for text in unlike), *_told(before, after, pairs)]
    return Comparison(tuple(differences), tuple(notes))


def _quantities(names: set[Quantity]) -> str:
    return " and ".join(title(name).lower() for name in sorted(names))


def _pairs(before: Sequence[Point], after: Sequence[Point]) -> list[tuple[Point | None, Point | None]]:
    """Pair points by name, threads and cores, then by name in order; the rest stay alone."""
    left = list(before)
    pairs: list[tuple[Point | None, Point | None]] = []
    for keys in (("threads", "cores"), ()):
        for point in after:
            if any(other is point for _, other in pairs):
                continue
            match = next(
                (other for other in left if other.name == point.name and _same(other.settings, point.settings, keys)),
                None,
            )
            if match is not None:
                left.remove(match)
                pairs.append((match, point))
    order = {id(point): index for index, point in enumerate(after)}
    pairs += [(None, point) for point in after if not any(other is point for _, other in pairs)]
    return [*sorted(pairs, key=lambda pair: order[id(pair[1])]), *((point, None) for point in left)]


def _same(one: RunSettings, other: RunSettings, names: Sequence[str]) -> bool:
    return all(getattr(one, name) == getattr(other, name) for name in names)


def _unlike_points(before: Point, after: Point) -> Iterator[str]:
    names = [name for name in _SETTINGS if getattr(before.settings, name) != getattr(after.settings, name)]
    for name in names:
        yield f"{name} of {after.name} was {getattr(before.settings, name)} and is {getattr(after.settings, name)}"
    if before.resolution != after.resolution:
        was, now = before.resolution or "unknown", after.resolution or "unknown"
        yield f"the resolution of {after.name} was {was} and is {now}"


def _differing(before: ResultSet, after: ResultSet, names: Sequence[str]) -> Iterator[str]:
    for name in names:
        one, other = getattr(before.device, name), getattr(after.device, name)
        if one != other:
            words = name.replace("_", " ")
            yield (
                f"the device's {words} was {one} and is {other}"
                if name not in ("cores", "instruction_sets")
                else f"the device has different {words}"
            )


def _told(before: ResultSet, after: ResultSet, pairs: Sequence[tuple[Point | None, Point | None]]) -> Iterator[str]:
    """Differences that do not make the files incomparable."""
    for text in _differing(before, after, _DEVICE_TOLD):
        yield text[0].upper() + text[1:] + "."
    old = {part.name: part for part in before.components}
    new = {part.name: part for part in after.components}
    for name in dict.fromkeys((*old, *new)):
        if old.get(name) != new.get(name):
            versions = [part.version if part else "absent" for part in (old.get(name), new.get(name))]
            yield (
                f"{name} was {versions[0]} and is {versions[1]}."
                if versions[0] != versions[1]
                else f"{name} is a different build."
            )
    if before.components == after.components and all(
        one and other and one.model_sha256 == other.model_sha256 for one, other in pairs
    ):
        yield "Models and programs are the same in both files: any difference comes from the machine, or from chance."


def _difference(
    before: Point | None, after: Point | None, befores: Sequence[Point], afters: Sequence[Point]
) -> Difference:
    if before is None or after is None:
        point, points, status = (after, afters, Status.ONLY_AFTER) if after else (before, befores, Status.ONLY_BEFORE)
        assert point is not None
        return Difference(label(point, points), before, after, status)
    named = label(after, afters)
    notes = [*_model_notes(before, after)]
    notes += [
        f"{when}: {text}" for when, point in (("before", before), ("after", after)) for text in warnings_of(point)
    ]
    failed = tuple(not point.rounds or point.error is not None for point in (before, after))
    if not before.rounds or not after.rounds:
        status = {
            (True, True): Status.FAILED_BOTH,
            (True, False): Status.FAILED_BEFORE,
            (False, True): Status.FAILED_AFTER,
        }[failed[0], failed[1]]
        return Difference(named, before, after, status, notes=tuple(notes))
    changed = change(after.values, before.values)
    status = Status.FAILED_AFTER if failed[1] and not failed[0] else Status.COMPARED
    if after.quantity != "latency_us":  # it repeats, so that any difference is one
        ours, theirs = _range(after), _range(before)
        apart = ours[0] > theirs[1] or ours[1] < theirs[0]
        return Difference(named, before, after, status, Change(changed.ratio, None, None), None, apart, tuple(notes))
    if changed.p_value is None and status is Status.COMPARED:
        status = Status.TOO_FEW_ROUNDS
        notes.append(f"a comparison needs {MIN_ROUNDS} rounds in both files")
    return Difference(named, before, after, status, changed, changed.p_value, False, tuple(notes))


def _adjusted(differences: Sequence[Difference]) -> list[Difference]:
    """With the p-values adjusted for their number, and the verdict on significance that follows."""
    from scipy import stats

    p_values = [difference.p_value for difference in differences if difference.p_value is not None]
    adjusted_p_values = iter(stats.false_discovery_control(p_values) if p_values else [])
    adjusted = []
    for difference in differences:
        if difference.p_value is None:
            adjusted.append(difference)
        else:
            p_value = float(next(adjusted_p_values))
            adjusted.append(replace(difference, p_value=p_value, is_significant=p_value < 1 - CONFIDENCE))
    return adjusted


def _range(point: Point) -> tuple[float, float]:
    counts = [count for counts in point.values for count in counts]
    return min(counts), max(counts)


def _model_notes(before: Point, after: Point) -> Iterator[str]:
    for name in Content.model_fields:
        one, other = getattr(before, name), getattr(after, name)
        if one is not None and other is not None and one != other:
            yield f"{name.replace('_', ' ')}: {one} before, {other} after"
