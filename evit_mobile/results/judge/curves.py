"""The curves of a suite as plain values, for pages, tables and verdicts.

Nothing is drawn or measured here. Intervals and exponents come from ``evit_mobile.results.stats``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Iterable, Sequence

from evit_mobile.results.judge.claims import RatioCheck, claims_of
from evit_mobile.results.record import Along, Point, ResultSet, RunSettings
from evit_mobile.results.stats import Growth, Interval, growth, instability, summarise
from evit_mobile.results.summary import axis_title, caveats, ratio_of, scale, summary_of, unit


@dataclass(frozen=True)
class Axis:
    """An axis. ``unit`` is empty for a plain number. ``log`` axes hold only positive values."""

    label: str
    unit: str
    log: bool = True


@dataclass(frozen=True)
class CurvePoint:
    """A point in the units of the axes.

    Attributes:
        value: the median over rounds, or a count; None if there is only a mark.
        interval: its 95 % interval; None for a count, and with too few rounds.
        rounds: how many rounds (of a ratio: pairs of rounds) stand behind it; 0 for a count.
        mark: ``does not fit``, ``timed out``, ``failed`` or ``not measured`` if there is no value, else None.
        note: the point's name, and what went wrong where something did.
    """

    x: float
    value: float | None
    interval: Interval | None = None
    rounds: int = 0
    mark: str | None = None
    note: str = ""


@dataclass(frozen=True)
class Series:
    """One line of a chart, by rising x; ``growth`` is the exponent of y against x, over the x at which every line was
    measured.
    """

    name: str
    points: tuple[CurvePoint, ...]
    growth: Growth | None = None


@dataclass(frozen=True)
class Band:
    """A range of y that the paper states."""

    low: float
    high: float
    label: str


@dataclass(frozen=True)
class Curve:
    """A chart. ``key`` tells it apart within a result file and is fit for a file name; ``notes`` must be read
    with it.
    """

    key: str
    title: str
    x: Axis
    y: Axis
    series: tuple[Series, ...]
    band: Band | None = None
    notes: tuple[str, ...] = ()


_ALONG: dict[Along, Axis] = {
    "tokens": Axis("Tokens", ""),
    "resolution": Axis("Input side", "px"),
    "top1": Axis("ImageNet top-1, as published", "%", log=False),
}


def curves(results: ResultSet) -> list[Curve]:
    """The curves of the suite in ``results``; none without a suite.

    Latency (or instructions) of every series; its ratio to the first series wherever both have points at the same x,
    with the paper's range if it states one; and counted MACs.
    """
    suite = results.suite
    if suite is None or not any(point.place for point in results.points):
        return []
    drawn = [] if suite.counts_only else [_measured(results), *_ratios(results)]
    if suite.along != "top1":
        drawn.append(_macs(results))
    notes = (*caveats(results), *filter(None, [distrust(results)]))
    return [
        replace(curve, notes=(*notes, *curve.notes) if curve.y.label != _MACS.label else curve.notes)
        for curve in drawn
        if curve.series
    ]


def distrust(results: ResultSet) -> str | None:
    """Why the machine changed during the sweep, judged by its reference model; None if nothing suggests that it did."""
    for reference in results.references:
        medians = [(summarise([values]).median,) for values in reference.values]
        reason = instability(medians) if medians and reference.quantity == "latency_us" else None
        if reason is not None:
            return f"The machine changed during the sweep: for the reference model, {reason}."
    return None


def along(point: Point, kind: Along) -> float | None:
    """The x of a point of a suite; None outside a suite, or if the axis is accuracy and none is published."""
    place = point.place
    if place is None:
        return None
    if kind == "top1":
        return place.accuracy.top1_percent if place.accuracy else None
    return float(place.tokens) if kind == "tokens" and place.tokens else place.side


def lines(results: ResultSet) -> dict[str, list[Point]]:
    """The points of each line by rising x, keyed by series, and by setting if there are several."""
    assert results.suite is not None
    kind = results.suite.along
    placed = [point for point in results.points if along(point, kind) is not None]
    several = len({point.settings for point in placed}) > 1
    points_of: dict[str, list[Point]] = {}
    for point in placed:
        assert point.place is not None
        name = point.place.series + (f", {setting_of(point.settings)}" if several else "")
        points_of.setdefault(name, []).append(point)
    return {name: sorted(points, key=lambda point: along(point, kind) or 0) for name, points in points_of.items()}


def setting_of(settings: RunSettings) -> str:
    """Threads and cores in words."""
    return f"{settings.threads} thread{'s' if settings.threads > 1 else ''}" + (
        f", cores {settings.cores}" if settings.cores != "all" else ""
    )


def shared(points: Sequence[Point], others: Sequence[Point], kind: Along) -> list[tuple[float, Point, Point]]:
    """x, point and other point wherever both have one at the same x under the same settings."""
    by_place = {(along(other, kind), other.settings): other for other in others}
    return [
        (x, point, by_place[x, point.settings])
        for point in points
        if (x := along(point, kind)) is not None and (x, point.settings) in by_place
    ]


def _measured(results: ResultSet) -> Curve:
    assert results.suite is not None
    kind = results.suite.along
    quantity = next((point.quantity for point in results.points if point.quantity), None) or "latency_us"
    drawn = {name: tuple(_point(point, kind) for point in points) for name, points in lines(results).items()}
    known = [{point.x for point in points if point.value is not None} for points in drawn.values()]
    common = set.intersection(*filter(None, known)) if any(known) else set()
    series = [
        Series(name, points, _growth(points, common) if kind != "top1" else None) for name, points in drawn.items()
    ]
    axis = Axis(axis_title(results, quantity), unit(quantity))
    return Curve(
        f"{results.suite.name}-{quantity.partition('_')[0]}", results.suite.title, _ALONG[kind], axis, tuple(series)
    )


def _ratios(results: ResultSet) -> Iterable[Curve]:
    """Every other series against the first."""
    assert results.suite is not None
    kind = results.suite.along
    everything = lines(results)
    first = next(point.place.series for points in everything.values() for point in points if point.place)
    base = [point for points in everything.values() for point in points if point.place and point.place.series == first]
    series = []
    for name, points in everything.items():
        pairs = shared(points, base, kind) if points[0].place and points[0].place.series != first else []
        if len(pairs) > 1:
            drawn = tuple(_ratio_point(x, point, other) for x, point, other in pairs)
            series.append(Series(f"{name} / {first}", drawn, _growth(drawn)))
    heading = f"How many times as much as {first}"
    yield Curve(
        f"{results.suite.name}-ratio",
        heading,
        _ALONG[kind],
        Axis("Ratio", "×"),
        tuple(series),
        _band(results.suite.figure),
    )


def _band(figure: str | None) -> Band | None:
    """The range that the paper gives for the ratio that its figure shows."""
    for claim in claims_of(figure):
        if isinstance(claim.check, RatioCheck) and claim.check.high is not None:
            return Band(claim.check.low, claim.check.high, f"paper, {claim.measured_on}")
    return None


_MACS = Axis("Multiply-accumulates", "M")


def _macs(results: ResultSet) -> Curve:
    assert results.suite is not None
    kind = results.suite.along
    by_series: dict[str, dict[float, CurvePoint]] = {}
    for point in results.points:
        x = along(point, kind)
        if x is not None and point.place is not None and point.place.macs:
            # The same at any number of threads.
            by_series.setdefault(point.place.series, {})[x] = CurvePoint(x, point.place.macs / 1e6, note=point.name)
    sorted_series = [(name, tuple(points[x] for x in sorted(points))) for name, points in by_series.items()]
    drawn = tuple(Series(name, points, _growth(points)) for name, points in sorted_series)
    return Curve(f"{results.suite.name}-macs", "Multiply-accumulates, counted", _ALONG[kind], _MACS, drawn)


def _point(point: Point, kind: Along) -> CurvePoint:
    x = along(point, kind)
    assert x is not None
    if point.quantity is None:
        mark = point.limit or ("failed" if point.error else "not measured")
        return CurvePoint(x, None, mark=mark, note=point.name + (f": {point.error}" if point.error else ""))
    summary = summary_of(point)
    quantity = point.quantity
    interval = summary.interval
    if interval is not None:
        interval = Interval(scale(quantity, interval.low), scale(quantity, interval.high))
    return CurvePoint(x, scale(quantity, summary.median), interval, summary.rounds, note=point.name)


def _ratio_point(x: float, point: Point, other: Point) -> CurvePoint:
    for part in (point, other):
        if part.quantity is None:
            return replace(_point(part, "resolution"), x=x)
    ratio = ratio_of(point, other)
    return CurvePoint(x, ratio.value, ratio.interval, ratio.rounds, note=f"{point.name} / {other.name}")


def _growth(points: Sequence[CurvePoint], among: set[float] | None = None) -> Growth | None:
    """The exponent over all points, or over those at these x alone: exponents are compared over one range."""
    known = [
        (point.x, point.value) for point in points if point.value is not None and (among is None or point.x in among)
    ]
    return growth([x for x, _ in known], [y for _, y in known]) if known else None
