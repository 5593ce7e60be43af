"""Curves of results whose figures are known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from evit_mobile.results.judge.curves import curves, distrust
from evit_mobile.results.record import Point, Round
from evit_mobile.results.stats import growth
from tests.kits.results import SETTINGS, device, layer, place, point, results


def test_the_exponent_is_that_of_the_power_law_and_its_interval_holds_it() -> None:
    rng = np.random.default_rng(0)
    x = np.geomspace(196, 4096, 9)
    inside = 0
    for _ in range(300):
        fitted = growth(list(x), list(3 * x**1.5 * rng.lognormal(0, 0.02, len(x))))
        assert fitted is not None and fitted.interval is not None and abs(fitted.exponent - 1.5) < 0.05
        inside += 1.5 in fitted.interval
    # Student's interval is exact for this noise: 95 % of 300, within four standard deviations.
    assert abs(inside / 300 - 0.95) < 4 * math.sqrt(0.95 * 0.05 / 300)


def test_what_is_no_power_law_has_a_wide_interval() -> None:
    x = [196.0, 400.0, 1024.0, 4096.0]
    bent = growth(x, [1000 + value for value in x])
    assert bent is not None and bent.interval is not None and bent.interval.high - bent.interval.low > 0.3


@pytest.mark.parametrize(("x", "y"), [([1.0], [2.0]), ([3.0, 3.0], [1.0, 2.0]), ([], [])])
def test_one_place_has_no_exponent(x: list[float], y: list[float]) -> None:
    assert growth(x, y) is None


def test_two_points_have_an_exponent_without_an_interval() -> None:
    fitted = growth([1.0, 10.0], [2.0, 200.0])
    assert fitted is not None and fitted.exponent == pytest.approx(2) and fitted.interval is None


def test_latency_ratio_and_macs() -> None:
    results = layer(lambda n: 0.5 * n, lambda n: 1e-3 * n**2, device())
    latency, ratio, macs = curves(results)
    assert (latency.y.unit, ratio.y.unit, macs.y.unit) == ("ms", "×", "M")
    linear, softmax = latency.series
    assert linear.growth is not None and linear.growth.exponent == pytest.approx(1, abs=0.02)
    assert softmax.growth is not None and softmax.growth.exponent == pytest.approx(2, abs=0.02)
    # Exponents that stand side by side are of the same range: linear's point at 16384 has no partner.
    assert linear.growth.points == softmax.growth.points == 4
    assert [entry.x for entry in linear.points] == [196, 400, 1024, 4096, 16384]
    assert linear.points[0].value == pytest.approx(0.098, rel=0.02) and linear.points[0].rounds == 8
    assert (softmax.points[-1].value, softmax.points[-1].mark) == (None, "does not fit") and "28 GB" in softmax.points[
        -1
    ].note
    [line] = ratio.series
    assert line.name == "softmax / linear" and line.points[0].value == pytest.approx(1e-3 * 196 / 0.5, rel=0.02)
    assert line.points[-1].mark == "does not fit"
    assert ratio.band is not None and (ratio.band.low, ratio.band.high) == (3.3, 4.5)
    assert macs.series[0].points[0].value == pytest.approx(196)
    assert any("not Snapdragon" in note for note in latency.notes) and not macs.notes


def test_settings_are_lines_of_their_own() -> None:
    four = SETTINGS.model_copy(update={"threads": 4})
    points = [point(place("linear", x), x, settings) for settings in (SETTINGS, four) for x in (196.0, 400.0)]
    latency, *_ = curves(results(points, device(), None, "tokens"))
    assert [series.name for series in latency.series] == ["linear, 1 thread", "linear, 4 threads"]


def test_a_suite_that_only_counts_has_one_curve() -> None:
    from tests.kits.results import unmeasured

    points = [unmeasured(place("ViT-Small", x, "resolution")) for x in (224.0, 512.0)]
    [macs] = curves(results(points, device(), "figure-1-middle", "resolution", suite={"counts_only": True}))
    assert macs.key == "s-macs" and [entry.mark for entry in macs.series[0].points] == [None, None]


def test_without_a_suite_there_are_none() -> None:
    results = layer(lambda n: n, lambda n: n, device())
    assert curves(results.evolve(suite=None)) == []


def _reference(levels: list[float]) -> Point:
    rounds = tuple(Round(latency_us=(level,)) for level in levels)
    return Point(name="reference", model_sha256="0" * 64, model_bytes=9, settings=SETTINGS, rounds=rounds)


def test_a_reference_that_drifts_or_jumps_is_not_trusted() -> None:
    steady, drifting = [100.0, 101, 99, 100, 100.5, 99.5, 100, 100.2], [100.0 + 2 * step for step in range(8)]
    jumping = [100.0, 180, 100, 185, 100, 175, 100, 190]
    for levels, word in ((steady, None), (drifting, "drift"), (jumping, "scatter")):
        results = layer(lambda n: n, lambda n: 4 * n, device(), references=(_reference(levels),))
        reason = distrust(results)
        assert (reason is None) if word is None else (reason is not None and word in reason)
