"""Two result files: what is called a difference, what is refused, and how often nothing is called something."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from evit_mobile.errors import RequestError
from evit_mobile.results.judge.compare import Comparison, Status, compare
from evit_mobile.results.record import Component, Core, DeviceInfo, Point, ResultSet, Round, RunSettings

NOW = datetime(2026, 1, 2, tzinfo=UTC)
HOST = DeviceInfo(
    kind="host", name="host", soc="A CPU", abi="x86_64", cores=(Core(index=0),), os_build="Linux 6.1", emulated=False
)
QEMU = DeviceInfo(
    kind="qemu",
    name="qemu:cortex-a76",
    soc="Cortex-A76",
    abi="arm64",
    cores=(Core(index=0),),
    os_build="",
    emulated=True,
)


def _results(*points: Point, device: DeviceInfo = HOST, version: str = "2.1.2") -> ResultSet:
    return ResultSet(
        created=NOW,
        command=("evit-mobile", "bench"),
        components=(Component(name="litert", version=version),),
        device=device,
        points=points,
    )


def _point(
    name: str = "m", rounds: tuple[Round, ...] = (), settings: RunSettings = RunSettings(), **more: Any
) -> Point:
    return Point(
        **{"name": name, "model_sha256": "0" * 64, "model_bytes": 1, "settings": settings, "rounds": rounds, **more}
    )


def _timed(
    name: str = "m", level_us: float = 1e4, *, seed: int | tuple[int, ...] = 0, rounds: int = 10, **more: Any
) -> Point:
    rng = np.random.default_rng(seed)
    samples = (level_us * rng.lognormal(0, 0.02) * rng.lognormal(0, 0.01, 5) for _ in range(rounds))
    return _point(name, tuple(Round(latency_us=tuple(values)) for values in samples), **more)


def _counted(name: str, *counts: int) -> Point:
    return _point(name, tuple(Round(instructions=(count,)) for count in counts), RunSettings(rounds=len(counts)))


def _only(comparison: Comparison) -> Any:
    [difference] = comparison.differences
    return difference


@pytest.mark.parametrize(("factor", "verdict"), [(0.9, "faster"), (1.1, "slower")])
def test_a_difference_is_found_with_its_size(factor: float, verdict: str) -> None:
    difference = _only(compare(_results(_timed(seed=1)), _results(_timed(level_us=factor * 1e4, seed=2))))
    assert (difference.status, difference.is_significant, difference.verdict) == (Status.COMPARED, True, verdict)
    assert difference.change.ratio == pytest.approx(factor, abs=0.03) and difference.p_value < 0.01
    assert difference.is_regression(0.05) == (factor > 1)
    assert not difference.is_regression(0.2)


def test_a_large_difference_without_significance_is_none() -> None:
    """Half the rounds of both are slow: medians differ by 30 % by the luck of one round."""
    slow, fast = Round(latency_us=(1.5e4,)), Round(latency_us=(1e4,))
    before = _point(rounds=(slow, fast) * 3 + (fast,), settings=RunSettings(rounds=7))
    after = _point(rounds=(slow, fast) * 3 + (slow,), settings=RunSettings(rounds=7))
    difference = _only(compare(_results(before), _results(after)))
    assert not difference.is_significant and not difference.is_regression(0.05) and difference.verdict == ""


@pytest.mark.parametrize("models", [1, 8])
def test_false_alarms_do_not_grow_with_the_number_of_models(models: int) -> None:
    """A file without any change raises an alarm, for one model or more, in 5 of 100 cases: unadjusted, eight models
    would in 34.
    """
    experiments = 480 // models
    alarms = 0
    for seed in range(experiments):
        before, after = (
            _results(*(_timed(f"m{index}", seed=(seed, index, side)) for index in range(models))) for side in (0, 1)
        )
        alarms += any(difference.is_significant for difference in compare(before, after).differences)
    assert alarms / experiments <= 0.05 + 3 * (0.05 * 0.95 / experiments) ** 0.5


def test_instruction_counts_are_compared_without_a_test() -> None:
    def counts(*after: int) -> Any:
        return _only(
            compare(_results(_counted("m", 1000, 1010), device=QEMU), _results(_counted("m", *after), device=QEMU))
        )

    assert (counts(1011, 1020).verdict, counts(900, 999).verdict) == ("more", "fewer")
    assert counts(1005, 1005).verdict == counts(1010, 1020).verdict == ""
    assert counts(1100).is_regression(0.05) and not counts(1020).is_regression(0.05)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("soc", "Another CPU", "soc was A CPU and is Another CPU"),
        ("kind", "adb", "kind"),
        ("abi", "aarch64", "abi"),
        ("emulated", True, "emulated"),
        ("cores", (Core(index=0), Core(index=1)), "different cores"),
        ("instruction_sets", ("avx2",), "different instruction sets"),
    ],
)
def test_unlike_devices_are_refused_unless_told(field: str, value: Any, message: str) -> None:
    other = HOST.evolve(**{field: value})
    with pytest.raises(RequestError, match=message) as caught:
        compare(_results(_timed()), _results(_timed(), device=other))
    assert "--allow-unlike" in str(caught.value)
    comparison = compare(_results(_timed()), _results(_timed(), device=other), allow_unlike=True)
    assert any(message in note for note in comparison.notes)


@pytest.mark.parametrize(
    ("field", "value"), [("threads", 4), ("cores", "0x1"), ("runs", 7), ("warmup_runs", 0), ("min_time_s", 9.0)]
)
def test_unlike_settings_are_refused_unless_told(field: str, value: Any) -> None:
    other = _timed(settings=RunSettings(**{field: value}))
    with pytest.raises(RequestError, match=f"{field} of m was .* and is {value}"):
        compare(_results(_timed()), _results(other))
    assert _only(compare(_results(_timed()), _results(other), allow_unlike=True)).status is Status.COMPARED


def test_another_resolution_is_unlike_and_another_number_of_rounds_is_not() -> None:
    with pytest.raises(RequestError, match="resolution of m was 224 and is 288"):
        compare(_results(_timed(resolution="224")), _results(_timed(resolution="288")))
    difference = _only(compare(_results(_timed()), _results(_timed(rounds=6, settings=RunSettings(rounds=6)))))
    assert difference.status is Status.COMPARED


def test_points_of_several_settings_find_their_own() -> None:
    both = [_timed(), _timed(level_us=3e3, seed=5, settings=RunSettings(threads=4))]
    differences = compare(_results(*both), _results(*reversed(both))).differences
    assert [difference.change.ratio for difference in differences if difference.change] == [1.0, 1.0]
    assert [difference.label for difference in differences] == ["m, 4 threads", "m, 1 thread"]


def test_what_is_in_one_file_alone_is_told() -> None:
    gone, new = _timed("gone"), _timed("new")
    failed = _point("broken", error="it crashed")
    differences = compare(_results(_timed(), gone, _timed("broken")), _results(_timed(), new, failed)).differences
    status = {difference.label: difference.status for difference in differences}
    assert status == {
        "m": Status.COMPARED,
        "new": Status.ONLY_AFTER,
        "broken": Status.FAILED_AFTER,
        "gone": Status.ONLY_BEFORE,
    }
    assert {difference.label for difference in differences if difference.is_regression(0.05)} == {"broken", "gone"}
    assert any("it crashed" in note for difference in differences for note in difference.notes)
    with pytest.raises(RequestError, match="no model in common"):
        compare(_results(gone), _results(new))


def test_too_few_rounds_decide_nothing() -> None:
    few: Any = {"rounds": 5, "settings": RunSettings(rounds=5)}
    difference = _only(compare(_results(_timed(**few)), _results(_timed(level_us=9e4, **few))))
    assert difference.status is Status.TOO_FEW_ROUNDS
    assert difference.verdict == "" and not difference.is_regression(0.05)
    assert difference.change.ratio == pytest.approx(9, abs=0.5)


def test_latencies_and_instructions_are_never_compared() -> None:
    with pytest.raises(RequestError, match="latency and instructions per inference cannot be compared"):
        compare(_results(_timed()), _results(_counted("m", 5), device=QEMU), allow_unlike=True)


def test_what_else_changed_is_told() -> None:
    before = _results(_timed(partitions=1, precision="fp32"))
    other = HOST.evolve(os_build="Linux 6.2")
    after = _results(_timed(seed=3, partitions=8, precision="int8"), version="2.3.0", device=other)
    comparison = compare(before, after)
    assert {"litert was 2.1.2 and is 2.3.0.", "The device's os build was Linux 6.1 and is Linux 6.2."} <= set(
        comparison.notes
    )
    assert {"partitions: 1 before, 8 after", "precision: fp32 before, int8 after"} <= set(_only(comparison).notes)
    assert any("Models and programs are the same" in note for note in compare(before, before).notes)
