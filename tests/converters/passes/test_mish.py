"""Mish without a logarithm. Oracle: PyTorch's own in double precision."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from evit_mobile.specs import Precision
from tests.kits.graphs import export, ops, rewrite, run_onnx

SHAPE = (1, 3, 4, 5)
#: Far below and above zero, where eˣ vanishes and where it leaves half precision and then single precision.
VALUES = np.linspace(-30, 100, 60, dtype=np.float32).reshape(SHAPE)


class _SoftplusTimes(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * F.softplus(x) + F.softplus(x)


# A few roundings of single precision; of half precision what n / (n + 2) differs from 1 by at 5.
@pytest.mark.parametrize(("precision", "tolerance"), [(Precision.FP32, 1e-6), (Precision.FP16, 1e-4)])
def test_rewritten(precision: Precision, tolerance: float) -> None:
    rewritten, reports = rewrite(export(nn.Mish(), SHAPE), precision=precision)
    assert reports["mish"].fired == 1
    assert dict(ops(rewritten)) == {"Min": 1, "Exp": 1, "Add": 2, "Mul": 2, "Div": 1}
    expected = F.mish(torch.from_numpy(VALUES).double()).numpy()
    np.testing.assert_allclose(run_onnx(rewritten, VALUES), expected, rtol=tolerance, atol=1e-30)


def test_another_use_of_softplus_stays() -> None:
    assert rewrite(export(_SoftplusTimes(), SHAPE))[1]["mish"].fired == 0
