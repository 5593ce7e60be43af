"""Double precision within a graph. Oracle: ONNX Runtime on the graph before; 1e-6: single precision's roundings."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from tests.kits.graphs import export, noise, ops, rewrite, run_onnx

SHAPE = (1, 3, 4, 5)


class _Double(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return (x.double() * torch.tensor([[1.5], [2.5], [3.5], [4.5]], dtype=torch.float64)).float()


def test_rewritten() -> None:
    model = export(_Double(), SHAPE)
    rewritten, reports = rewrite(model)
    assert reports["single-precision"].fired == 3  # the cast, the constant and the product
    assert dict(ops(rewritten)) == {"Mul": 1}
    x = noise(SHAPE)
    np.testing.assert_allclose(run_onnx(rewritten, x), run_onnx(model, x), rtol=1e-6)


def test_single_precision_stays() -> None:
    _, reports = rewrite(export(nn.Hardswish(), SHAPE))
    assert reports["single-precision"].fired == 0
