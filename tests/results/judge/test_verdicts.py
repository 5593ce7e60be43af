"""Verdicts on results whose figures are known, on every kind of device."""

from __future__ import annotations

import pytest

from evit_mobile.results.judge.claims import all_claims
from evit_mobile.results.judge.verdict import Outcome, Verdict
from evit_mobile.results.judge.verdicts import verdicts
from evit_mobile.results.record import Core, DeviceInfo, Point, Round
from tests.kits.results import SETTINGS, SNAPDRAGON_855, device, layer, place, point, results, unmeasured

PHONE = device("adb", SNAPDRAGON_855)


def _one(judged: list[Verdict], claim: str) -> Verdict:
    [verdict] = [entry for entry in judged if entry.claim == claim]
    return verdict


def test_every_claim_has_a_source_and_an_id_of_its_own() -> None:
    claims = all_claims()
    assert len({claim.id for claim in claims}) == len(claims) >= 6
    assert all("2205.14756" in claim.source for claim in claims)
    assert all((claim.measured_on is None) == (claim.soc_part is None) for claim in claims)


@pytest.mark.parametrize(
    ("info", "times", "outcome"),
    [
        (PHONE, 4.0, Outcome.REPRODUCED),
        (PHONE, 6.0, Outcome.REPRODUCED),
        (PHONE, 2.0, Outcome.NOT_REPRODUCED),
        (device("adb", "Snapdragon 855 (SM8150-AC)"), 4.0, Outcome.NOT_COMPARABLE),
        (device("adb", "Snapdragon 8 Gen 3 (SM8650)"), 4.0, Outcome.NOT_COMPARABLE),
        (device("adb", SNAPDRAGON_855, emulated=True), 4.0, Outcome.SAME_DIRECTION),
        (device("adb", SNAPDRAGON_855, emulated=True), 0.5, Outcome.OPPOSITE),
        (device(), 4.0, Outcome.SAME_DIRECTION),
        (device(), 0.5, Outcome.OPPOSITE),
        (device(), 1.0, Outcome.NOT_COMPARABLE),
    ],
)
def test_only_the_papers_own_soc_reproduces_or_refutes(info: DeviceInfo, times: float, outcome: Outcome) -> None:
    [verdict] = verdicts(layer(lambda n: n, lambda n: times * n, info))
    assert verdict.outcome is outcome, verdict.reason
    assert [number.n for number in verdict.numbers] == [8] * 4
    assert all(number.interval is not None and number.value in number.interval for number in verdict.numbers)
    caveats = " ".join(verdict.caveats)
    assert "threads" in caveats and "TensorFlow Lite" in caveats and "1 thread" in caveats and "does not fit" in caveats
    assert ("not Snapdragon figures" in caveats) == (info.kind == "host" or info.emulated)


def test_an_855_plus_that_calls_itself_sm8150_has_a_higher_clock() -> None:
    for clock_khz, outcome in ((2_841_600, Outcome.REPRODUCED), (2_956_800, Outcome.NOT_COMPARABLE)):
        info = PHONE.model_copy(
            update={"cores": (Core(index=0, max_clock_khz=1_785_600), Core(index=7, max_clock_khz=clock_khz))}
        )
        [verdict] = verdicts(layer(lambda n: n, lambda n: 4 * n, info))
        assert verdict.outcome is outcome, verdict.reason


def test_a_machine_that_changed_supports_nothing() -> None:
    rounds = tuple(Round(latency_us=(100.0 + 3 * step,)) for step in range(8))
    reference = Point(name="reference", model_sha256="0" * 64, model_bytes=9, settings=SETTINGS, rounds=rounds)
    [verdict] = verdicts(layer(lambda n: n, lambda n: 4 * n, PHONE, references=(reference,)))
    assert verdict.outcome is Outcome.NOT_COMPARABLE and "changed during the sweep" in verdict.reason


def test_points_of_unlike_macs_are_left_out() -> None:
    points = [point(place("linear", 196.0, macs=100), 1e3), point(place("softmax", 196.0, macs=106), 4e3)]
    points += [point(place("linear", 400.0, macs=100), 2e3), point(place("softmax", 400.0, macs=105), 8e3)]
    [verdict] = verdicts(results(points, PHONE, "figure-2-left", "tokens"))
    assert len(verdict.numbers) == 1 and "MACs differ" in " ".join(verdict.caveats)


def test_each_setting_has_its_verdict() -> None:
    four = SETTINGS.model_copy(update={"threads": 4})
    points = [
        point(place(name, x), x * times, settings)
        for settings, times_softmax in ((SETTINGS, 4.0), (four, 2.0))
        for x in (196.0, 400.0)
        for name, times in (("linear", 1.0), ("softmax", times_softmax))
    ]
    judged = verdicts(results(points, PHONE, "figure-2-left", "tokens"))
    assert [(verdict.setting, verdict.outcome) for verdict in judged] == [
        ("1 thread", Outcome.REPRODUCED),
        ("4 threads", Outcome.NOT_REPRODUCED),
    ]


@pytest.mark.parametrize(
    ("power", "outcome"), [(0.3, Outcome.REPRODUCED), (-0.3, Outcome.NOT_REPRODUCED), (0.0, Outcome.NOT_COMPARABLE)]
)
def test_growth_with_the_resolution(power: float, outcome: Outcome) -> None:
    points = []
    for side in (160.0, 224.0, 320.0, 512.0, 640.0):
        points.append(point(place("linear", side, "resolution"), side**2 / 5, noise=0.01))
        points.append(
            point(place("softmax", side, "resolution"), side**2 / 5 * (side / 160) ** power, noise=0.01, seed=1)
        )
    [verdict] = verdicts(results(points, PHONE, "figure-5-right", "resolution"))
    assert verdict.outcome is outcome, verdict.reason
    assert verdict.numbers[0].value == pytest.approx(power, abs=0.05)


def test_accuracy_against_latency_pairs_the_fastest_that_is_better() -> None:
    points = [
        point(place("EfficientViT", 77.7, "top1"), 10_000),
        point(place("EfficientViT", 79.7, "top1"), 20_000),
        point(place("EfficientNet", 77.1, "top1"), 30_000),
        point(place("EfficientNet", 79.1, "top1"), 40_000),
        point(place("EfficientNet", 80.1, "top1"), 90_000),
        point(place("MobileNetV3", 75.2, "top1"), 9_000),
        unmeasured(place("EfficientViT", 78.6, "top1", model="base-r224", macs=406_000_000)),
    ]
    judged = verdicts(results(points, PHONE, "figure-5-left", "top1"))
    rivals = _one(judged, "figure-5-left-efficientnet")
    assert [round(number.value, 1) for number in rivals.numbers] == [3.0, 2.0]
    assert rivals.outcome is Outcome.NOT_REPRODUCED and "80.1" in " ".join(rivals.caveats)
    assert _one(judged, "section-4.1").outcome is Outcome.REPRODUCED
    similar = _one(judged, "figure-5-left-mobilenetv3")
    assert similar.outcome is Outcome.REPRODUCED and similar.numbers[0].value == pytest.approx(0.9, abs=0.02)


def test_what_is_counted_is_the_same_on_every_machine() -> None:
    points = [
        unmeasured(place(name, side, "resolution", macs=macs))
        for side, macs_of in ((224.0, (4, 11)), (1024.0, (400, 250)))
        for name, macs in zip(("ViT-Small", "ResNet-152"), macs_of)
    ]
    [verdict] = verdicts(results(points, device(), "figure-1-middle", "resolution", suite={"counts_only": True}))
    assert verdict.outcome is Outcome.REPRODUCED and verdict.setting == ""


def test_counts_of_an_emulated_processor_have_a_direction_without_intervals() -> None:
    two = SETTINGS.model_copy(update={"rounds": 2})
    points = [
        point(place(name, x), x * times, two, counts=True)
        for x in (196.0, 400.0)
        for name, times in (("linear", 1), ("softmax", 3))
    ]
    [verdict] = verdicts(results(points, device("qemu", "Cortex-A76", emulated=True), "figure-2-left", "tokens"))
    assert verdict.outcome is Outcome.SAME_DIRECTION and verdict.numbers[0].interval is None


def test_nothing_measured_is_not_comparable() -> None:
    points = [unmeasured(place(name, 196.0)) for name in ("linear", "softmax")]
    [verdict] = verdicts(results(points, PHONE, "figure-2-left", "tokens"))
    assert verdict.outcome is Outcome.NOT_COMPARABLE and verdict.numbers == ()
