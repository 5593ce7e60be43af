"""How far an output is from its reference, and how far it may be."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from evit_mobile.arrays import Array
from evit_mobile.specs import Precision


@dataclass(frozen=True)
class Difference:
    """One output beside its reference. Figures are None where they have no finite value; ``failure`` then says why, if
    it is a fault.

    Attributes:
        max_abs_error: largest absolute difference.
        relative_error: ``max_abs_error`` divided by the largest magnitude in the reference; of whole numbers and
            booleans the share of places where they differ.
        cosine: cosine of the angle between the two, as flat vectors.
        sqnr_db: power of the reference over power of the difference; None too where both are equal.
        top1_agrees: a classifier's best class is the same. It is told, not judged: an error within the bound can only
            swap two classes whose reference scores are closer than twice that error.
        top5_agreement: share of the reference's five best classes that are among this output's five best.
        failure: what is wrong whatever the bound.
    """

    max_abs_error: float | None = None
    relative_error: float | None = None
    cosine: float | None = None
    sqnr_db: float | None = None
    top1_agrees: bool | None = None
    top5_agreement: float | None = None
    failure: str | None = None

    def within(self, bound: float) -> bool:
        """Whether the output is finite and its relative error at most ``bound``."""
        return self.failure is None and self.relative_error is not None and self.relative_error <= bound


def compare(reference: Array, actual: Array) -> Difference:
    """Judge ``actual`` by ``reference``; both of one shape, any rank. Rank 2 ([1, classes]) is taken for a classifier's
    scores.
    """
    if reference.shape != actual.shape:
        return Difference(failure=f"shape {list(actual.shape)}, expected {list(reference.shape)}")
    failure = _non_finite("the reference", reference) or _non_finite("the output", actual)
    if failure is not None:
        return Difference(failure=failure)
    expected, computed = reference.astype(np.float64), actual.astype(np.float64)
    if reference.dtype.kind in "biu":
        differing = expected != computed
        return Difference(
            max_abs_error=float(np.abs(computed - expected).max(initial=0)), relative_error=float(differing.mean())
        )
    error = computed - expected
    max_abs, magnitude = float(np.abs(error).max(initial=0)), float(np.abs(expected).max(initial=0))
    if magnitude == 0 and max_abs > 0:
        return Difference(
            max_abs_error=max_abs, failure=f"the reference is zero everywhere, the output reaches {max_abs:.3g}"
        )
    top1, top5 = _top_classes(reference, actual)
    return Difference(
        max_abs_error=max_abs,
        relative_error=max_abs / magnitude if magnitude else 0.0,
        cosine=_cosine(expected, computed),
        sqnr_db=10 * math.log10(float(np.sum(expected**2)) / float(np.sum(error**2)))
        if max_abs and np.sum(error**2)
        else None,
        top1_agrees=top1,
        top5_agreement=top5,
    )


def without_ties(reference: Array, actual: Array, scores: Array, bound: float) -> Array:
    """``actual``'s classes, with the reference's where two outputs within ``bound`` of ``scores`` [..., classes] can
    choose either.

    Each score may be off by ``bound`` times the largest magnitude, so two that are nearer than twice that may swap.
    """
    classes = scores.shape[-1]
    tolerance = 2 * bound * float(np.abs(scores).max(initial=0))
    chosen, other = (
        np.take_along_axis(scores, np.clip(places, 0, classes - 1)[..., np.newaxis].astype(np.int64), -1)[..., 0]
        for places in (reference, actual)
    )
    tied = (chosen - other <= tolerance) & (actual >= 0) & (actual < classes)
    return np.where(tied, reference, actual)


def _non_finite(what: str, values: Array) -> str | None:
    """Where the first NaN or infinity is, and how many there are."""
    if values.dtype.kind != "f":
        return None
    places = np.argwhere(~np.isfinite(values))
    if not len(places):
        return None
    first = tuple(places[0])
    kind = "NaN" if np.isnan(values[first]) else "infinity"
    position = [int(index) for index in first]
    return f"{what} holds {kind} at {position}; {len(places)} of {values.size} values are not finite"


def _cosine(expected: Array, given: Array) -> float | None:
    norms = float(np.linalg.norm(expected) * np.linalg.norm(given))
    return float(np.vdot(expected, given)) / norms if norms else None


def _top_classes(reference: Array, actual: Array) -> tuple[bool | None, float | None]:
    if reference.ndim != 2 or reference.shape[0] != 1 or reference.shape[1] < 2:
        return None, None
    expected, computed = (np.argsort(-scores[0], kind="stable")[:5] for scores in (reference, actual))
    top5 = len(set(expected) & set(computed)) / 5 if reference.shape[1] > 5 else None
    return bool(expected[0] == computed[0]), top5


@dataclass(frozen=True)
class Criterion:
    """When an output counts as the same: its ``relative_error`` is at most ``bound``, or its ``sqnr_db`` at least."""

    measure: Literal["relative_error", "sqnr_db"]
    bound: float

    def holds(self, difference: Difference) -> bool:
        """Whether the output is finite and near enough; two equal outputs have no SQNR, and are."""
        if self.measure == "relative_error":
            return difference.within(self.bound)
        return difference.failure is None and (difference.sqnr_db is None or difference.sqnr_db >= self.bound)

    def figure(self, difference: Difference) -> str:
        """The measured value beside the bound."""
        if self.measure == "relative_error":
            return f"relative error {difference.relative_error:.2e}, allowed {self.bound:.0e}"
        sqnr_db = math.inf if difference.sqnr_db is None else difference.sqnr_db
        return f"SQNR {sqnr_db:.1f} dB, expected at least {self.bound:.0f}"

    def __str__(self) -> str:
        return (
            f"relative error at most {self.bound:.0e}"
            if self.measure == "relative_error"
            else f"SQNR at least {self.bound:.0f} dB"
        )


#: fp32: 40 layers of rounding at 2**-24 stay two orders of magnitude below it, while one wrong weight is above. fp16:
#: weights rounded to 11 bits (2**-11 = 4.9e-4 each), and on processors that compute in half precision every activation
#: too, over as many layers: 1.2e-2 on a Cortex-A76 (benchmarks/results/half.md). Integers are judged by power, since
#: single values may be off by several steps: each of some 50 roundings to 8 bits (28 to 40 dB) adds its noise, and the
#: flat inputs of verification lie outside of what a model was calibrated on: an all-white one came to 8 dB where
#: photographs have 27, a quantisation gone wrong is below 0. With int8 weights alone it is some 30 dB.
CRITERIA: dict[Precision, Criterion] = {
    Precision.FP32: Criterion("relative_error", 1e-4),
    Precision.FP16: Criterion("relative_error", 2e-2),
    Precision.DYNAMIC: Criterion("sqnr_db", 18.0),
    Precision.INT8: Criterion("sqnr_db", 7.0),
}
