"""Clamps next to those of a named op. Oracle: PyTorch; a clamp chooses among its operands, so results are equal."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.kits.graphs import export, ops, rewrite, run_onnx

SHAPE = (1, 3, 4, 5)


class Clamp(nn.Module):
    """Twice x held between two numbers, by clamp or by maximum and minimum."""

    def __init__(self, low: float | None, high: float | None, *, spelled: bool = False) -> None:
        super().__init__()
        self.low, self.high, self.spelled = low, high, spelled

    def forward(self, x: Tensor) -> Tensor:
        if not self.spelled:
            return 2 * x.clamp(self.low, self.high)
        if self.low is not None:
            x = torch.maximum(x, torch.tensor(self.low))
        return 2 * (x if self.high is None else torch.minimum(x, torch.tensor(self.high)))


def values() -> np.ndarray:
    """Numbers of both signs down to 1e-15, zeros, and numbers on both sides of 1 and 6."""
    magnitudes = np.concatenate(
        [[0, 1, 6, 7, 0.99999, 0.9999999, 5.999], 10.0 ** -np.arange(1, 16), np.linspace(0.1, 0.9, 8)]
    )
    return np.concatenate([magnitudes, -magnitudes]).astype(np.float32).reshape(SHAPE)


@pytest.mark.parametrize("spelled", [False, True])
@pytest.mark.parametrize(
    ("low", "high"), [(1e-7, None), (1e-12, None), (1e-7, 1.0), (1e-7, 1 - 1e-7), (0.0, 1 - 1e-6), (1e-6, 6.0)]
)
def test_bounds_are_kept(low: float, high: float | None, spelled: bool) -> None:
    module = Clamp(low, high, spelled=spelled)
    rewritten, reports = rewrite(export(module, SHAPE))
    assert reports["exact-clamp"].fired == 1
    after = ops(rewritten)
    assert after["Max"] == 1 and after["Min"] == (high is not None) and "Clip" not in after
    (lower,) = [node for node in rewritten.graph.node if node.op_type == "Max"]
    assert lower.input[0] in {tensor.name for tensor in rewritten.graph.initializer}
    x = values()
    np.testing.assert_array_equal(run_onnx(rewritten, x), module(torch.from_numpy(x)).numpy())


@pytest.mark.parametrize(
    ("low", "high"), [(0.0, 6.0), (0.0, None), (-1.0, 1.0), (0.1, 0.9), (None, 1e-7), (1e-3, None), (-math.inf, 6.0)]
)
def test_other_clamps_stay(low: float | None, high: float | None) -> None:
    module = Clamp(low, high)
    rewritten, reports = rewrite(export(module, SHAPE))
    assert reports["exact-clamp"].fired == 0 and not reports["exact-clamp"].declined
    x = values()
    np.testing.assert_array_equal(run_onnx(rewritten, x), module(torch.from_numpy(x)).numpy())
