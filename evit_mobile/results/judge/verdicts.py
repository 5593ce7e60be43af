"""What a result file says about the paper's claims.

A latency claim can be reproduced, or not, only on the paper's own SoC, measured and not emulated. Another phone is not
comparable with the figure, nor are imported figures whose SoC nobody named, or that an accelerator made. A host CPU,
an Android emulator, QEMU and an estimate (marked as one) show whether the same quantity goes in the same direction
there. What is counted (MACs) is the same everywhere.
"""

from __future__ import annotations

import functools
import math
from typing import Sequence

from evit_mobile.results.judge.claims import Claim, GrowthCheck, MacsCheck, RatioCheck, RivalCheck, claims_of
from evit_mobile.results.judge.curves import along, distrust, lines, setting_of, shared
from evit_mobile.results.judge.verdict import Finding, Number, Outcome, Verdict
from evit_mobile.results.record import Along, DeviceInfo, Point, ResultSet, RunSettings
from evit_mobile.results.stats import growth, summarise
from evit_mobile.results.summary import caveats, ratio_of, significant

#: Tables of clocks differ by their last step.
CLOCK_TOLERANCE = 1.01


Groups = dict[str, list[Point]]


def verdicts(results: ResultSet) -> list[Verdict]:
    """One verdict per claim and setting, for the claims that the suite of ``results`` can check; none without a
    suite.
    """
    if results.suite is None:
        return []
    judged = []
    for claim in claims_of(results.suite.figure):
        settings: Sequence[RunSettings | None] = list(dict.fromkeys(point.settings for point in results.points))
        for setting in [None] if claim.measured_on is None else settings:
            groups = _groups(results, setting)
            if groups:
                judged.append(_verdict(claim, results, setting, groups))
    return judged


def _groups(results: ResultSet, setting: RunSettings | None) -> Groups:
    """Points by series, of one setting; of the first where it does not matter."""
    chosen = setting or next((point.settings for point in results.points), None)
    groups: Groups = {}
    for points in lines(results).values():
        for point in points:
            if point.settings == chosen and point.place is not None:
                groups.setdefault(point.place.series, []).append(point)
    return groups


def _verdict(claim: Claim, results: ResultSet, setting: RunSettings | None, groups: Groups) -> Verdict:
    finding = _check(claim.check, results, groups)
    outcome, reason = _outcome(claim, results, finding)
    notes = [*(caveats(results) if claim.measured_on else []), *finding.caveats]
    notes += [claim.reading] if claim.reading else []
    notes += claim.unstated
    notes += [f"Here: {setting_of(setting)}, {_runtimes(results)}."] if setting and claim.unstated else []
    return Verdict(
        claim.id,
        claim.text,
        claim.source,
        setting_of(setting) if setting else "",
        outcome,
        reason,
        finding.numbers,
        tuple(notes),
    )


def _runtimes(results: ResultSet) -> str:
    names = [f"{part.name} {part.version}" for part in results.components if part.name != "evit-mobile"]
    return names[0] if names else "an unknown runtime"


def _outcome(claim: Claim, results: ResultSet, finding: Finding) -> tuple[Outcome, str]:
    if claim.measured_on is None:
        if finding.holds is None:
            return Outcome.NOT_COMPARABLE, finding.reason
        return (Outcome.REPRODUCED if finding.holds else Outcome.NOT_REPRODUCED), finding.reason
    device = results.device
    reason = distrust(results)
    if reason is not None:
        return Outcome.NOT_COMPARABLE, f"{reason} {finding.reason}"
    elsewhere = [name for name in results.source.accelerators if name != "CPU"] if results.source is not None else []
    if elsewhere:
        return Outcome.NOT_COMPARABLE, f"The claim is of a CPU, this ran on {', '.join(elsewhere)}. {finding.reason}"
    if device.is_phone or device.is_imported:
        if not is_soc(device, claim):
            other = f"The claim is of a {claim.measured_on} ({claim.soc_part}), this is {_named(device)}."
            return Outcome.NOT_COMPARABLE, f"{other} {finding.reason}"
        if finding.holds is None:
            return Outcome.NOT_COMPARABLE, finding.reason
        return (Outcome.REPRODUCED if finding.holds else Outcome.NOT_REPRODUCED), finding.reason
    if finding.direction is None:
        return Outcome.NOT_COMPARABLE, finding.reason
    if device.is_estimated:
        return (Outcome.ESTIMATED_SAME if finding.direction else Outcome.ESTIMATED_OPPOSITE), finding.reason
    return (Outcome.SAME_DIRECTION if finding.direction else Outcome.OPPOSITE), finding.reason


def _named(device: DeviceInfo) -> str:
    clocks = [core.max_clock_khz for core in device.cores if core.max_clock_khz]
    return device.soc + (f" of at most {max(clocks) / 1e6:.2f} GHz" if clocks else "")


def is_soc(device: DeviceInfo, claim: Claim) -> bool:
    """Whether the device has the very part that the claim is of.

    An 855+ is not an 855. It reports SM8150-AC, or on older systems SM8150 with a higher clock.
    """
    clocks = [core.max_clock_khz for core in device.cores if core.max_clock_khz]
    faster = claim.max_clock_khz is not None and bool(clocks) and max(clocks) > CLOCK_TOLERANCE * claim.max_clock_khz
    return device.soc == f"{claim.measured_on} ({claim.soc_part})" and not faster


def _along(results: ResultSet) -> Along:
    """What the suite's points lie along."""
    if results.suite is None:
        raise ValueError("claims are only checked on results of a suite")
    return results.suite.along


@functools.singledispatch
def _check(check: object, results: ResultSet, groups: Groups) -> Finding:
    """What the results say of one check; a kind of check registers its own."""
    raise TypeError(f"nothing judges a {type(check).__name__}")


@_check.register
def _ratio(check: RatioCheck, results: ResultSet, groups: Groups) -> Finding:
    pairs = shared(groups.get(check.of, []), groups.get(check.to, []), _along(results))
    numbers, unlike, absent = [], [], []
    for x, point, other in pairs:
        if not point.rounds or not other.rounds:
            absent.append(f"{x:g}: {_why(point if not point.rounds else other)}")
            continue
        if check.macs_within and _macs_differ(point, other, check.macs_within):
            unlike.append(f"{x:g}")
            continue
        numbers.append(_ratio_number(f"{check.of} / {check.to} at {x:g} {_along(results)}", point, other))
    notes = [f"Without a ratio at {'; '.join(absent)}."] if absent else []
    notes += (
        [f"Left out, because their MACs differ by more than {check.macs_within:.0%}: {', '.join(unlike)}."]
        if unlike
        else []
    )
    return _judge(numbers, check.low, check.high, tuple(notes))


@_check.register
def _rival(check: RivalCheck, results: ResultSet, groups: Groups) -> Finding:
    numbers, alone = [], []
    for point in groups.get(check.of, []):
        known = [
            other
            for other in groups.get(check.to, [])
            if other.rounds and point.rounds and _gain(other, point) >= check.by_top1
        ]
        better = [other for other in known if _gain(other, point) > 0]
        if not better:
            alone.append(point.name)
            continue
        best = min(better, key=lambda other: summarise(other.values).median)
        numbers.append(_ratio_number(f"{point.name} / {best.name} ({_gain(best, point):+.1f} top-1)", point, best))
    notes = (f"Nothing in {check.to} is enough better than {', '.join(alone)} and measured.",) if alone else ()
    return _judge(numbers, check.low, check.high, notes)


def _judge(numbers: list[Number], low: float, high: float | None, notes: tuple[str, ...]) -> Finding:
    """Judge ratios by a range. Below it the claim is not reproduced; above it, it is. The direction is the claim's if
    the ratios exceed the smaller of 1 and ``low``.
    """
    if not numbers:
        return Finding(None, None, "No two points that the claim compares were measured.", (), notes)
    least, most = min(numbers, key=lambda number: number.value), max(numbers, key=lambda number: number.value)
    stated = f"{low:g}–{high:g}" if high is not None else f"at least {low:g}"
    reason = f"{_said(least)}" + (f" to {_said(most)}" if most is not least else "") + f"; claimed: {stated}."
    if high is not None and most.value > high:
        notes = (
            f"Above the paper's range at {sum(number.value > high for number in numbers)} of {len(numbers)} points.",
            *notes,
        )
    holds = all(_high(number) >= low for number in numbers)
    line = min(low, 1.0)
    below, above = (
        sum(_high(number) < line for number in numbers),
        sum(_low(number) > line for number in numbers),
    )
    direction = None if bool(below) == bool(above) else above > 0
    if direction is None:
        reason += " The points disagree on the direction." if below else " No interval excludes equality."
    return Finding(holds, direction, reason, tuple(numbers), notes)


@_check.register
def _growth(check: GrowthCheck, results: ResultSet, groups: Groups) -> Finding:
    pairs = shared(groups.get(check.of, []), groups.get(check.to, []), _along(results))
    if check.counts:
        return _outgrows(check, pairs)
    measured = [(x, ratio_of(point, other)) for x, point, other in pairs if point.rounds and other.rounds]
    fitted = growth([x for x, _ in measured], [ratio.value for _, ratio in measured]) if measured else None
    absent = [
        f"{x:g}: {_why(point if not point.rounds else other)}"
        for x, point, other in pairs
        if not point.rounds or not other.rounds
    ]
    notes = (f"Without a ratio at {'; '.join(absent)}.",) if absent else ()
    if fitted is None or fitted.interval is None:
        return Finding(None, None, "Fewer than three points of both series were measured.", (), notes)
    kind = _along(results)
    numbers = [
        Number(f"{check.of} / {check.to} at {x:g}", ratio.value, "×", ratio.interval, ratio.rounds)
        for x, ratio in measured
    ]
    exponent = Number(
        f"exponent of {check.of} / {check.to} against {kind}", fitted.exponent, "", fitted.interval, fitted.points
    )
    holds = None if 0.0 in fitted.interval else fitted.exponent > 0
    sure = f"{fitted.interval.low:.2f} to {fitted.interval.high:.2f}"
    reason = f"{check.of} over {check.to} grows with {kind} to the power {fitted.exponent:.2f} ({sure})."
    if holds is None:
        reason += " The interval contains 0."
    return Finding(holds, holds, reason, (exponent, *numbers), notes)


def _outgrows(check: GrowthCheck, pairs: list[tuple[float, Point, Point]]) -> Finding:
    """By counted MACs: ``of`` begins below ``to`` and ends above it."""
    ratios = [
        (x, point.place.macs / other.place.macs)
        for x, point, other in pairs
        if point.place and other.place and point.place.macs and other.place.macs
    ]
    if len(ratios) < 2:
        return Finding(None, None, "Fewer than two points of both series were counted.")
    numbers = tuple(Number(f"MACs of {check.of} / {check.to} at {x:g}", ratio, "×") for x, ratio in ratios)
    passed = next((x for x, ratio in ratios if ratio > 1), None)
    holds = ratios[0][1] < 1 < ratios[-1][1]
    where = f"more from {passed:g} on" if passed is not None else "never more"
    reason = (
        f"{check.of} needs {significant(ratios[0][1], 3)} times {check.to}'s MACs at {ratios[0][0]:g}, "
        f"{significant(ratios[-1][1], 3)} times at {ratios[-1][0]:g}, {where}."
    )
    return Finding(holds, holds, reason, numbers)


@_check.register
def _macs(check: MacsCheck, results: ResultSet, groups: Groups) -> Finding:
    for point in (point for points in groups.values() for point in points):
        place = point.place
        if place is not None and place.model == check.model and math.isclose(place.side, check.side) and place.macs:
            millions = place.macs / 1e6
            number = Number(f"MACs of {check.model} at {check.side:g}", millions, "M")
            holds = check.low <= millions <= check.high
            return Finding(
                holds,
                holds,
                f"{check.model} has {millions:.1f}M MACs; claimed: {check.low:g}M to {check.high:g}M.",
                (number,),
            )
    return Finding(None, None, f"{check.model} at {check.side:g} was not counted.")


def _ratio_number(name: str, point: Point, other: Point) -> Number:
    ratio = ratio_of(point, other)
    return Number(name, ratio.value, "×", ratio.interval, ratio.rounds)


def _gain(point: Point, other: Point) -> float:
    """The lead of ``point`` in published top-1, in points, rounded as published."""
    ours, theirs = along(point, "top1"), along(other, "top1")
    return round(ours - theirs, 3) if ours is not None and theirs is not None else -math.inf


def _macs_differ(point: Point, other: Point, within: float) -> bool:
    counts = [entry.place.macs for entry in (point, other) if entry.place is not None and entry.place.macs]
    return len(counts) < 2 or max(counts) > min(counts) * (1 + within)


def _low(number: Number) -> float:
    return number.interval.low if number.interval is not None else number.value


def _high(number: Number) -> float:
    return number.interval.high if number.interval is not None else number.value


def _said(number: Number) -> str:
    shown = f"{significant(number.value, 3)}×"
    return (
        f"{shown} ({significant(_low(number), 3)} to {significant(_high(number), 3)})"
        if number.interval is not None
        else shown
    )


def _why(point: Point) -> str:
    return f"{point.name} {point.limit or ('failed' if point.error else 'was not measured')}"
