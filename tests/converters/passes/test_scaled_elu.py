"""Elu of any α. Oracle: PyTorch; a rounding more, and near 0 that of eˣ - 1, 1.2e-7."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from tests.kits.graphs import export, noise, ops, rewrite, run_onnx

SHAPE = (1, 3, 4, 5)


@pytest.mark.parametrize("alpha", [0.3, 2.5, -0.5])
def test_rewritten(alpha: float) -> None:
    rewritten, reports = rewrite(export(nn.ELU(alpha), SHAPE))
    assert reports["scaled-elu"].fired == 1
    assert dict(ops(rewritten)) == {"Relu": 2, "Neg": 2, "Elu": 1, "Mul": 1, "Add": 1}
    x = noise(SHAPE)
    expected = nn.ELU(alpha)(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(run_onnx(rewritten, x), expected, rtol=1e-6, atol=1.2e-7 * abs(alpha))


def test_the_usual_one_stays() -> None:
    rewritten, reports = rewrite(export(nn.ELU(), SHAPE))
    assert reports["scaled-elu"].fired == 0 and dict(ops(rewritten)) == {"Elu": 1}
