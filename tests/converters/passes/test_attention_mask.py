"""Masks of attention. Oracle: PyTorch in double precision."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx.numpy_helper
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from converters.pipeline import convert_in_memory
from converters.source.inputs import InputRequest
from converters.source.load import module_source
from converters.tflite.inspection import inspect_model
from evit_mobile.runtimes import RUNTIMES
from evit_mobile.specs import Precision
from tests.kits.graphs import export, noise, ops, relative_error, rewrite, run_onnx

HEADS, TOKENS = 2, 9
SHAPE = (1, HEADS, TOKENS, TOKENS)
SEEN = torch.ones(TOKENS, TOKENS, dtype=torch.bool).tril()
BLIND = SEEN.index_fill(0, torch.tensor(3), False)
LOWEST = torch.finfo(torch.float32).min
#: The rounding of a softmax in single precision.
TOLERANCE = 1e-6


class _Softmax(nn.Module):
    """Scores whose mask is ``masked``'s."""

    def __init__(self, masked: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self._masked = masked

    def forward(self, scores: Tensor) -> Tensor:
        return self._masked(scores).softmax(-1)


def _added(low: float) -> Callable[[Tensor], Tensor]:
    return lambda scores: scores + torch.where(SEEN, 0.0, low).to(scores.dtype)


CHOSEN: dict[str, Callable[[Tensor], Tensor]] = {
    "fill": lambda scores: scores.masked_fill(~SEEN, -torch.inf),
    "where": lambda scores: torch.where(SEEN, scores, LOWEST),
    "where not": lambda scores: torch.where(~SEEN, -1e4, scores),
}
ADDED = {"infinite": _added(-torch.inf), "lowest": _added(LOWEST), "-1e9": _added(-1e9)}


def _check(masked: Callable[[Tensor], Tensor], precision: Precision, fires: bool) -> None:
    module, scores = _Softmax(masked), 10 * noise(SHAPE)
    rewritten, reports = rewrite(export(module, SHAPE), precision=precision)
    assert reports["attention-mask"].fired == int(fires)
    if not fires:
        return
    assert dict(ops(rewritten)) == {"Add": 1, "Softmax": 1}
    mask = max(map(onnx.numpy_helper.to_array, rewritten.graph.initializer), key=np.size)
    assert precision is not Precision.FP16 or np.abs(mask).max() < np.finfo(np.float16).max / 4
    expected = module(torch.from_numpy(scores).double()).numpy()
    assert relative_error(expected, run_onnx(rewritten, scores)) <= TOLERANCE


@pytest.mark.parametrize("precision", [Precision.FP32, Precision.FP16, Precision.INT8])
@pytest.mark.parametrize("masked", CHOSEN.values(), ids=CHOSEN)
def test_a_choice_becomes_an_addition(masked: Callable[[Tensor], Tensor], precision: Precision) -> None:
    _check(masked, precision, fires=True)


@pytest.mark.parametrize(("precision", "fires"), [(Precision.FP16, True), (Precision.FP32, False)])
@pytest.mark.parametrize("masked", ADDED.values(), ids=ADDED)
def test_what_is_added_fits_half_precision(
    masked: Callable[[Tensor], Tensor], precision: Precision, fires: bool
) -> None:
    _check(masked, precision, fires)


OTHERS: dict[str, Callable[[Tensor], Tensor]] = {
    "a small mask": _added(-100.0),
    "a choice of small numbers": lambda scores: scores.masked_fill(~SEEN, -100.0),
    "a mask of the input's own": lambda scores: scores.masked_fill(scores < 0, -1e9),
    "a row that sees nothing": lambda scores: scores + torch.where(BLIND, 0.0, -1e9),
}


@pytest.mark.parametrize("masked", OTHERS.values(), ids=OTHERS)
def test_others_stay(masked: Callable[[Tensor], Tensor]) -> None:
    _check(masked, Precision.FP16, fires=False)


def test_scaled_dot_product_attention_that_is_causal() -> None:
    class Attention(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return F.scaled_dot_product_attention(x, 2 * x, 3 * x, is_causal=True)

    shape = (1, HEADS, TOKENS, TOKENS)
    rewritten, reports = rewrite(export(Attention(), shape), precision=Precision.FP16)
    assert reports["attention-mask"].fired == 1
    x = noise(shape)
    assert relative_error(Attention()(torch.from_numpy(x).double()).numpy(), run_onnx(rewritten, x)) <= TOLERANCE


class _Guarded(nn.Module):
    def __init__(self, seen: Tensor, low: float = -torch.inf) -> None:
        super().__init__()
        self._mask = torch.where(seen, 0.0, low)

    def forward(self, scores: Tensor) -> Tensor:
        weights = (scores + self._mask.to(scores.dtype)).softmax(-1)
        return torch.where(weights.isnan(), 0.0, weights) * 1.5


@pytest.mark.parametrize("precision", [Precision.FP32, Precision.FP16])
@pytest.mark.parametrize("seen", [SEEN, BLIND], ids=["seeing", "blind"])
def test_the_guard_of_a_constant_mask_goes(seen: Tensor, precision: Precision) -> None:
    """A row that sees nothing is 0."""
    module, scores = _Guarded(seen), 10 * noise(SHAPE)
    graph = export(module, SHAPE)
    rewritten, reports = rewrite(graph, precision=precision)
    assert reports["attention-mask"].fired == 1
    assert ops(graph)["IsNaN"] == 1 and dict(ops(rewritten)) == {"Add": 1, "Softmax": 1, "Mul": 1 + (seen is BLIND)}
    expected = module(torch.from_numpy(scores).double()).numpy()
    assert relative_error(expected, run_onnx(rewritten, scores)) <= TOLERANCE


def test_the_guard_of_a_row_that_is_only_low_stays() -> None:
    """Its softmax is a number."""
    _, reports = rewrite(export(_Guarded(BLIND, -1e9), SHAPE))
    assert reports["attention-mask"].fired == 0


@pytest.mark.parametrize("seen", [SEEN, BLIND], ids=["seeing", "blind"])
def test_scaled_dot_product_attention_with_a_boolean_mask_is_one_partition(seen: Tensor, tmp_path: Path) -> None:
    class Attention(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return F.scaled_dot_product_attention(x, 2 * x, 3 * x, attn_mask=seen)

    path, x = tmp_path / "attention.tflite", noise(SHAPE)
    convert_in_memory(module_source(Attention().eval(), request=InputRequest(shapes={"x": SHAPE}))).save(path)
    counted = inspect_model(path, RUNTIMES["litert"], explain=False)
    assert counted.partitions == 1 and not counted.undelegated
    with RUNTIMES["litert"].open(path) as session:
        expected = Attention()(torch.from_numpy(x).double()).numpy()
        (actual,) = session.run([np.moveaxis(x, 1, -1)])
        assert relative_error(expected, np.moveaxis(actual, -1, 1)) <= TOLERANCE
