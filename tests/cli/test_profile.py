"""The op profile of a real run, summed up."""

from __future__ import annotations

from pathlib import Path

import pytest

from android_bench.benchmark_model.op_profile import parse_csv
from evit_mobile.cli.profile import by_type
from evit_mobile.results.record import OpTime

CSV = Path(__file__).parent.parent / "data" / "benchmark_model" / "03_prof_csv_file_m3.csv"


def test_the_tools_own_sums() -> None:
    """The tool's own summary by node type counts as many nodes; its times are cut to whole microseconds a node."""
    rows = {row["op"]: row for row in by_type(parse_csv(CSV.read_text()), {})}
    assert {name: row["nodes"] for name, row in rows.items()} == {
        "Fully Connected (NC, F32) GEMM": 35,
        "Convolution (NHWC, F32) DWConv": 17,
        "Convolution (NHWC, F32) IGEMM": 1,
        "Static Reshape (NC)": 1,
        "Softmax (NC, F32)": 1,
        "Mean (ND) Reduce2": 1,
        "Add (ND)": 10,
    }
    assert rows["Fully Connected (NC, F32) GEMM"]["mean_us"] == pytest.approx(97, abs=35)
    assert sum(row["share"] for row in rows.values()) == pytest.approx(1)
    assert all(row["delegated"] for row in rows.values())


def test_reasons_are_told_of_what_stayed_outside() -> None:
    profile = [
        OpTime(op="GATHER", name="a", mean_us=3.0, calls=1),
        OpTime(op="Add (ND)", name="b", partition=0, mean_us=1.0, calls=1),
    ]
    outside, inside = by_type(profile, {"GATHER": "XNNPACK has no GATHER"})
    assert (outside["op"], outside["share"], outside["reason"]) == ("GATHER", 0.75, "XNNPACK has no GATHER")
    assert inside["reason"] is None
