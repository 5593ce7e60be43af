"""A parity report in the words and figures that the command line and the page show."""

from __future__ import annotations

import math
from dataclasses import dataclass

from converters.parity.comparison import FAINT_DB, ParityRow
from converters.parity.verify import ParityReport

#: What a setting's figures are called; see ``settings``.
HEADER = (
    "runtime", "XNNPACK", "threads", "outputs", "max rel. error", "min SQNR dB", "min cosine", "top-1", "",
)  # fmt: skip
_XNNPACK = {True: "on", False: "off", None: "–"}


@dataclass(frozen=True)
class SettingSummary:
    """The worst figures of one runtime with one setting, ready to be printed under ``HEADER``."""

    cells: tuple[str, ...]
    passed: bool


def settings(report: ParityReport) -> list[SettingSummary]:
    """One entry per runtime and setting, in order; then one per runtime that is not installed or could not run it."""
    groups: dict[tuple[str, bool | None, int | None], list[ParityRow]] = {}
    for row in report.judged():
        groups.setdefault((row.runtime, row.xnnpack, row.threads), []).append(row)
    shown = [
        SettingSummary(
            (runtime, _XNNPACK[xnnpack], str(threads or "–"), *_figures(rows)), all(row.passed for row in rows)
        )
        for (runtime, xnnpack, threads), rows in groups.items()
    ]
    for state in report.runtimes:
        if state.error or state.version is None:
            why, what = state.error or "not installed", "failed" if state.error else "left out"
            shown.append(SettingSummary((state.name, "", "", "", why, "", "", "", what), not state.error))
    return shown


def remarks(report: ParityReport) -> list[str]:
    """What there is to say of single inputs and outputs, a line each."""
    return [*_within_rounding(report), *_faint(report), *_not_judged(report)]


def _within_rounding(report: ParityReport) -> list[str]:
    """A line for each output that misses the criterion by no more than float32's own rounding."""
    worst: dict[tuple[str, str], tuple[float, float]] = {}
    for row in report.rows:
        if row.rounding is not None:
            key, error = (row.input, row.output), row.difference.max_abs_error or 0.0
            worst[key] = max(worst.get(key, (0.0, 0.0)), (error, row.rounding))
    return [
        f"within float32's own rounding: input {name}, output {output}: off by {error:.1e}, the reference itself by "
        f"{own:.1e}"
        for (name, output), (error, own) in worst.items()
    ]


def _faint(report: ParityReport) -> list[str]:
    """A line for each output that passed as one of more power."""
    worst: dict[tuple[str, str], float] = {}
    for row in report.rows:
        if row.faint_sqnr_db is not None:
            key = (row.input, row.output)
            worst[key] = min(worst.get(key, math.inf), row.faint_sqnr_db)
    return [
        f"far weaker than on a photograph: input {name}, output {output}; judged as {FAINT_DB:.0f} dB weaker: "
        f"SQNR {value:.1f} dB"
        for (name, output), value in worst.items()
    ]


def _not_judged(report: ParityReport) -> list[str]:
    return [
        f"not judged: input {item.input}, output {item.output}; float32 itself rounds by {item.relative_error:.1e} of "
        "the largest value there"
        for item in report.ill_conditioned
    ]


def _figures(rows: list[ParityRow]) -> tuple[str, ...]:
    errors = [row.difference.relative_error for row in rows]
    ratios = [row.difference.sqnr_db for row in rows if row.difference.sqnr_db is not None]
    cosines = [row.difference.cosine for row in rows if row.difference.cosine is not None]
    top1 = [row.difference.top1_agrees for row in rows if row.difference.top1_agrees is not None]
    worst = (
        "not finite" if any(row.difference.failure for row in rows) else f"{max(error or 0.0 for error in errors):.2e}"
    )
    return (
        str(len(rows)),
        worst,
        f"{min(ratios):.1f}" if ratios else "–",
        f"{min(cosines):.7f}" if cosines else "–",
        f"{sum(top1)}/{len(top1)}" if top1 else "–",
        "passed" if all(row.passed for row in rows) else "failed",
    )
