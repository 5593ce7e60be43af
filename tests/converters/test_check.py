"""The check of a conversion: what it leaves out, refuses and names. Files are real; which one an attempt gives
is set.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from converters.check import REWRITES, Attempt, check_finished, right_attempt
from converters.options import ConvertOptions
from converters.parity.expected import Expected
from converters.passes.base import PassReport
from converters.pipeline import convert_in_memory
from converters.source.export import export_onnx
from converters.source.load import load_source, module_source
from evit_mobile.errors import ClaimError, RequestError
from evit_mobile.specs import Precision, Resolution
from evit_mobile.tflite.file import Tflite
from evit_mobile.tflite.flatbuffer import pack, unpack

PASSES = ("first", "second", "third", "fourth")
BIAS = "stages.1.1/expand/conv/Conv_conv_bias"


@pytest.fixture(scope="module")
def expected() -> Expected:
    """base-r192 at 96x96: the source of ``small_tflite``."""
    source = load_source("base-r192", Resolution(96, 96))
    return Expected(source, export_onnx(source))


@pytest.fixture
def wrong_tflite(small_tflite: Path, damaged: Callable[..., Path]) -> Path:
    def far_off(values: NDArray[np.float32]) -> None:
        values[0] += 32 * np.abs(values).max()

    return damaged(small_tflite, BIAS, far_off)


def _reports(left_out: frozenset[str]) -> list[PassReport]:
    return [PassReport(name, "", 1, [], 0.0) for name in PASSES if name not in left_out]


def test_a_right_file_is_taken_at_once(small_tflite: Path, expected: Expected) -> None:
    attempts: list[frozenset[str]] = []

    def make(left_out: frozenset[str]) -> Attempt:
        attempts.append(left_out)
        return Attempt(expected.stock, _reports(left_out), Tflite.read(small_tflite))

    _, warnings = right_attempt(make, expected)
    assert (attempts, warnings) == ([frozenset()], [])


@pytest.mark.parametrize(
    "culprits, left_out",
    [({"third"}, {"third"}), ({"first"}, {"first"}), ({"second", "fourth"}, {"second", "third", "fourth"})],
)
def test_the_culprit_is_left_out(
    small_tflite: Path, wrong_tflite: Path, expected: Expected, culprits: set[str], left_out: set[str]
) -> None:
    """One culprit is found alone. Of two, either spoils the file: all from the first one on are left out."""

    def make(names: frozenset[str]) -> Attempt:
        path = small_tflite if culprits <= names else wrong_tflite
        return Attempt(expected.stock, _reports(names), Tflite.read(path))

    attempt, (warning,) = right_attempt(make, expected)
    assert attempt.lowered.path == small_tflite
    assert {report.name for report in attempt.passes} == set(PASSES) - left_out
    assert all(name in warning for name in left_out) and "relative error" in warning


def test_the_rewrites_of_the_lowering_are_left_out_first(
    small_tflite: Path, wrong_tflite: Path, expected: Expected
) -> None:
    def make(names: frozenset[str]) -> Attempt:
        path = small_tflite if REWRITES in names else wrong_tflite
        return Attempt(expected.stock, _reports(names), Tflite.read(path))

    attempt, warnings = right_attempt(make, expected)
    assert len(attempt.passes) == len(PASSES) and warnings == []


def test_what_stays_wrong_is_refused_and_the_layer_is_named(wrong_tflite: Path, expected: Expected) -> None:
    def make(left_out: frozenset[str]) -> Attempt:
        return Attempt(expected.stock, _reports(left_out), Tflite.read(wrong_tflite))

    with pytest.raises(
        ClaimError, match=r"base-r192 comes out wrong: .*stages\.1\.1\.expand\.conv parts first, at op \d+, CONV_2D"
    ):
        right_attempt(make, expected)


def test_a_file_that_no_runtime_loads_is_refused(small_tflite: Path, expected: Expected, tmp_path: Path) -> None:
    model = unpack(small_tflite.read_bytes())
    from ai_edge_litert import schema_py_generated as schema

    code = model.operatorCodes[0]
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
    code.deprecatedBuiltinCode, code.customCode = 32, b"ONNX_EINSUM"
    with pytest.raises(ClaimError, match="LiteRT cannot run it with XNNPACK"):
        check_finished(Tflite(pack(model), "custom"), Precision.FP32, expected, None)


class Counter(nn.Module):
    """Adds the number of its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.register_buffer("calls", torch.zeros(1))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return self.conv(image) + self.calls


def stateful() -> nn.Module:
    return Counter().eval()


def test_a_module_with_state_is_refused() -> None:
    with pytest.raises(RequestError, match="Counter is not a function of its input: buffer calls changes"):
        convert_in_memory(module_source(stateful(), Resolution(32, 32)))


class HiddenCounter(nn.Module):
    """Adds the number of its calls, which no buffer shows."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return image * self.calls


@pytest.mark.parametrize("side", [32, 640])
def test_state_that_no_buffer_shows_is_refused_at_any_size(side: int) -> None:
    """640x640x3 is beyond what is called twice without a reason."""
    with pytest.raises(RequestError, match="not a function of its input: output output differs between two calls"):
        convert_in_memory(module_source(HiddenCounter().eval(), Resolution(side, side)))


def test_no_file_is_left_of_it(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "evit_mobile.cli.main", "convert", "--model", "test_check:stateful"]
    paths = os.pathsep.join([str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    result = subprocess.run(
        [*command, "--resolution", "32", "--out", "out.tflite"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": paths},
    )
    assert result.returncode == 2, result.stderr
    assert "is not a function of its input: buffer calls changes" in result.stderr.splitlines()[0]
    assert not list(tmp_path.iterdir())


def test_the_check_can_be_left_out(tmp_path: Path) -> None:
    conversion = convert_in_memory(module_source(stateful(), Resolution(32, 32)), ConvertOptions(check=False))
    assert conversion.report.bytes_tflite == len(conversion.content)
    assert conversion.report.seconds["check"] < sum(conversion.report.seconds.values())


class AlwaysTraining(nn.Module):
    """A batch normalisation that no eval() reaches: its running mean moves, and TFLite has no such operator."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.norm.train()(image)
        return result


def test_state_is_refused_as_such_even_where_the_lowering_refuses_too() -> None:
    with pytest.raises(RequestError, match="is not a function of its input: buffers norm.running_mean, .* change"):
        convert_in_memory(module_source(AlwaysTraining().eval(), Resolution(8, 8)))


def test_fp16_attention_is_not_left_out_for_its_lower_bound() -> None:
    """Of 14x14 tokens: on zeros its bound, in place of an epsilon that fp16 takes for 0, tells by 1e-3."""
    conversion = convert_in_memory("base-r224", ConvertOptions(precision=Precision.FP16))
    assert not any("left out" in warning for warning in conversion.report.warnings)
