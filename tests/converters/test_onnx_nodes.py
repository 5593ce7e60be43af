"""A few of ONNX's own node tests, right or refused by name. ``benchmarks.nodes.run`` judges all of them.

Oracle: the tests' own outputs, within the benchmark's bounds.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.forked import forked_lowering
from benchmarks.nodes.cases import case_folders
from benchmarks.nodes.worker import Outcome, judge

RIGHT = (
    "test_affine_grid_2d_align_corners",
    "test_attention_4d_causal",
    "test_constant_pad_axes",
    "test_conv_with_autopad_same",
    "test_matmul_1d_1d",
    "test_gridsample_bilinear_align_corners_0_additional_1",
)
#: With a part of the reason.
REFUSED = {
    "test_attention_3d_with_past_and_present": "output present_key .* is a constant",
    "test_averagepool_3d_default": "AveragePool.* without data",
    "test_dropout_default_mask": "output z .* is a constant",
    "test_cast_FLOAT_to_FLOAT8E5M2": "output output .* is float8e5m2",
}


@pytest.fixture(autouse=True, scope="module")
def quick_lowering() -> Iterator[None]:
    with forked_lowering():
        yield


@pytest.mark.parametrize("name", RIGHT)
def test_right(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    verdict = judge(name, case_folders()[name])
    assert verdict.outcome == Outcome.RIGHT, verdict.reason


@pytest.mark.parametrize(("name", "reason"), REFUSED.items())
def test_refused(name: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    verdict = judge(name, case_folders()[name])
    assert verdict.outcome == Outcome.REFUSED, verdict.reason
    assert re.search(reason, verdict.reason or ""), verdict.reason
