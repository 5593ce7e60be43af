"""An estimate is called one wherever it is shown, and is never taken for a measurement."""

from __future__ import annotations

import math
from typing import Any

import pytest
from pydantic import ValidationError

from evit_mobile.errors import RequestError
from evit_mobile.results.breakdown import ELSEWHERE, by_block, by_type
from evit_mobile.results.draw.charts import charts
from evit_mobile.results.draw.interval_plot import LIGHT
from evit_mobile.results.draw.roofline_plot import KINDS, dots
from evit_mobile.results.estimates import Ceilings, Estimate, OpEstimate, Traffic
from evit_mobile.results.judge.compare import compare
from evit_mobile.results.judge.verdict import Outcome
from evit_mobile.results.judge.verdicts import verdicts
from evit_mobile.results.page.report import render
from evit_mobile.results.record import DeviceInfo, Place, Point, ResultSet, Round, RunSettings
from evit_mobile.results.summary import caveats, ratio_of, rows, summary_of
from tests.kits.results import device, place, point, results

INFO = device("estimate", "Snapdragon 855 (SM8150), prime core", emulated=True)
SETTINGS = RunSettings(runs=1, rounds=1)
ERROR = 0.15


def _estimate(us: float) -> Estimate:
    traffic = Traffic(l2_bytes=640, l3_bytes=64, memory_bytes=128, written_bytes=0)
    fields: dict[str, Any] = {"instructions": 5000, "cycles": 2000, "wait_cycles": 500, "traffic": traffic}
    return Estimate(estimated_latency_us=us, low_us=us / (1 + ERROR), high_us=us * (1 + ERROR), **fields)


def _point(us: float, where: Place | None = None, name: str = "m") -> Point:
    name = f"{where.model}@{where.side:g}" if where else name
    rounds = (Round(estimate=_estimate(us)),)
    return Point(name=name, model_sha256="0" * 64, model_bytes=9, settings=SETTINGS, rounds=rounds, place=where)


def _results(*points: Point, info: DeviceInfo = INFO) -> ResultSet:
    return results(list(points), info, None, "tokens").evolve(suite=None)


def _figure_2(times: float) -> ResultSet:
    points = []
    for tokens in (196.0, 400.0, 1024.0, 4096.0):
        points += [_point(tokens, place("linear", tokens)), _point(times * tokens, place("softmax", tokens))]
    return results(points, INFO, "figure-2-left", "tokens")


def test_interval_is_the_error_and_not_that_of_rounds() -> None:
    summary = summary_of(_point(1000.0))
    assert summary.interval is not None
    assert summary.interval.low == pytest.approx(1000 / 1.15) and summary.interval.high == pytest.approx(1150)
    ratio = ratio_of(_point(2000.0), _point(1000.0, name="other"))
    assert ratio.value == 2 and ratio.interval is not None
    assert ratio.interval.high == pytest.approx(2 * math.exp(math.sqrt(2) * math.log(1.15)))
    [_, row] = rows([_point(1000.0, name="a"), _point(2000.0, name="b")])
    assert row.verdict == "estimated slower" and not row.warnings
    [_, row] = rows([_point(1000.0, name="a"), _point(1100.0, name="b")])
    assert row.verdict == ""


@pytest.mark.parametrize(
    ("times", "outcome"),
    [(4.0, Outcome.ESTIMATED_SAME), (0.4, Outcome.ESTIMATED_OPPOSITE), (1.0, Outcome.NOT_COMPARABLE)],
)
def test_verdicts_are_estimated_and_never_reproduced(times: float, outcome: Outcome) -> None:
    [verdict] = verdicts(_figure_2(times))
    assert verdict.outcome is outcome
    assert all(number.interval is not None for number in verdict.numbers)
    assert any("not measured" in text and "15%" in text for text in verdict.caveats)


@pytest.mark.parametrize("data", [_results(_point(1000.0)), _figure_2(4.0)])
def test_page_says_estimated(data: ResultSet) -> None:
    page = render([("r.json", data)])
    assert "Estimated latency" in page and "not measured" in page and "<h1>Estimated with evit-mobile</h1>" in page
    assert "95% interval over rounds" not in page
    assert any("Estimated for a" in text for text in caveats(data))


def test_files_are_compared_with_their_like_alone() -> None:
    difference = compare(_results(_point(1000.0)), _results(_point(1100.0))).differences[0]
    assert (
        difference.verdict == "estimated slower"
        and difference.is_regression(0.05)
        and not difference.is_regression(0.2)
    )
    assert compare(_results(_point(1000.0)), _results(_point(1000.0))).differences[0].verdict == ""
    measured = _results(point(place("m", 9.0), 1000.0), info=device())
    with pytest.raises(RequestError, match="estimated latency and latency cannot be compared"):
        compare(_results(_point(1000.0)), measured)


@pytest.mark.parametrize("info", [device(), device("qemu", emulated=True), device("adb")])
def test_no_other_device_holds_estimates(info: DeviceInfo) -> None:
    with pytest.raises(ValidationError, match="estimate"):
        _results(_point(1000.0), info=info)


def test_estimate_device_holds_nothing_else() -> None:
    with pytest.raises(ValidationError, match="estimate"):
        _results(point(place("m", 9.0), 1000.0), info=INFO)
    with pytest.raises(ValidationError, match="estimate"):
        Round(estimate=_estimate(1.0), latency_us=(1.0,))
    with pytest.raises(ValidationError, match="measured times"):
        Round(estimate=_estimate(1.0), init_us=1.0)
    with pytest.raises(ValidationError, match="between low_us and high_us"):
        _estimate(1000.0).evolve(low_us=1001.0)


def _op(name: str, block: str | None, cycles: int, macs: int = 0) -> OpEstimate:
    traffic = Traffic(l2_bytes=640, l3_bytes=64, memory_bytes=96, written_bytes=32)
    times: dict[str, Any] = {"estimated_us": cycles / 2, "cycles": cycles, "wait_cycles": cycles // 4}
    return OpEstimate(op=name, delegated=True, instructions=9, traffic=traffic, block=block, macs=macs, **times)


OPS = (
    _op("(runtime)", None, 40),
    _op("Fully Connected (NC, F32) GEMM", "a.0", 800, 6400),
    _op("Convolution (NHWC, F16) DWConv", "a.1", 400, 640),
    _op("HardSwish (NC)", "a.1", 400),
    _op("Batch Matrix Multiply (NC, QS8) GEMM", "a.0", 360, 3600),
)


def _profiled(*ops: OpEstimate) -> ResultSet:
    ceilings = Ceilings(macs_per_cycle={"fp32": 8, "fp16": 16, "int8": 32}, memory_bytes_per_cycle=4.0)
    rounds = (Round(estimate=_estimate(1000.0).evolve(ceilings=ceilings)),)
    return _results(_point(1000.0).evolve(rounds=rounds, op_estimates=ops))


def test_blocks_and_types_add_up_to_the_inference() -> None:
    blocks = by_block(OPS)
    assert [(part.name, part.ops, part.cycles, part.macs) for part in blocks] == [
        (ELSEWHERE, 1, 40, 0),
        ("a.0", 2, 1160, 10_000),
        ("a.1", 2, 800, 640),
    ]
    assert [part.share for part in blocks] == pytest.approx([0.02, 0.58, 0.4])
    assert blocks[1].waiting == 0.25 and blocks[1].memory_bytes == 256 and blocks[1].traffic.l2_bytes == 1280
    assert [part.estimated_us for part in by_type(OPS)] == [400, 200, 200, 180, 20]
    assert by_block([op.evolve(block=None) for op in OPS]) == []


def test_roofline_has_the_ops_that_multiply() -> None:
    shown = dots(OPS)
    assert [(dot.kind, dot.precision, dot.intensity, dot.reached) for dot in shown] == [
        (KINDS[0], "fp32", 50, 8),
        (KINDS[1], "fp16", 5, 1.6),
        (KINDS[2], "int8", 28.125, 10),
    ]


def test_a_profile_is_drawn_by_block_by_type_and_as_a_roofline() -> None:
    drawn = {chart.key: chart for chart in charts(_profiled(*OPS))}
    assert set(drawn) >= {"estimated-blocks-m", "estimated-ops-m", "estimated-roofline-m"}
    for chart in drawn.values():
        picture = chart.draw(LIGHT, "svg", titled=True).decode()
        assert "stimated" in picture and "Snapdragon 855" in picture
    alone = drawn["estimated-roofline-m"].draw(LIGHT, "svg", titled=True).decode()
    assert "int8: 32 per cycle" in alone and "Estimated for a" in alone and "15%" in alone
    assert drawn["estimated-blocks-m"].cells[1][:4] == ("a.0", 2, 0.58, "58.0%")
    without = {chart.key for chart in charts(_profiled(*(op.evolve(block=None, macs=0) for op in OPS)))}
    assert without == {"medians", "estimated-cycles", "estimated-ops-m"}
