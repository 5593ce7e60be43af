"""Logarithms of exponentials. Oracle: PyTorch's own in double precision."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from evit_mobile.specs import Precision
from tests.kits.graphs import export, ops, rewrite, run_onnx

SHAPE = (1, 4, 5, 6)
#: Far below and above zero, where eˣ vanishes and where it leaves half precision and then single precision.
VALUES = np.linspace(-120, 120, 120, dtype=np.float32).reshape(SHAPE)


class _Of(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self._function = function

    def forward(self, x: Tensor) -> Tensor:
        return self._function(x)


@pytest.mark.parametrize("function", [F.softplus, F.logsigmoid, lambda x: F.softplus(x, beta=2)])
# Roundings of single precision, also of eˣ itself; of half precision what the series leaves out.
@pytest.mark.parametrize(("precision", "tolerance", "terms"), [(Precision.FP32, 1e-6, 7), (Precision.FP16, 2e-5, 4)])
def test_softplus_is_a_series(
    function: Callable[[Tensor], Tensor], precision: Precision, tolerance: float, terms: int
) -> None:
    graph = export(_Of(function), SHAPE)
    rewritten, reports = rewrite(graph, precision=precision)
    assert reports["log-exp"].fired == 1
    before, after = ops(graph), ops(rewritten)
    assert before["Softplus"] + before["Log"] == 1 and after["Exp"] == 1 and after["Div"] - before["Div"] == 1
    assert after["Add"] == terms + 1 and not {"Softplus", "Log", "Sigmoid"} & set(after)
    expected = function(torch.from_numpy(VALUES).double()).numpy()
    np.testing.assert_allclose(run_onnx(rewritten, VALUES), expected, rtol=tolerance, atol=1e-37)


@pytest.mark.parametrize("axes", [(1,), (2, 3), (0, 1, 2, 3)])
@pytest.mark.parametrize("keepdim", [True, False])
def test_log_sum_exp_starts_at_the_largest(axes: tuple[int, ...], keepdim: bool) -> None:
    module = _Of(lambda x: torch.logsumexp(x, axes, keepdim))
    graph = export(module, SHAPE)
    rewritten, reports = rewrite(graph)
    assert ops(graph)["ReduceLogSumExp"] == reports["log-exp"].fired == 1
    assert ops(rewritten)["ReduceMax"] == ops(rewritten)["Log"] == 1
    expected = module(torch.from_numpy(VALUES).double()).numpy()
    actual = run_onnx(rewritten, VALUES)
    assert actual.shape == expected.shape
    np.testing.assert_allclose(actual, expected, rtol=1e-6)


def test_another_logarithm_stays() -> None:
    assert rewrite(export(_Of(lambda x: torch.log(x.abs() + 1)), SHAPE))[1]["log-exp"].fired == 0
