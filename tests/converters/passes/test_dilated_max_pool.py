"""Max pools with holes. Oracle: PyTorch; values are only chosen, so results are equal."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from tests.kits.graphs import export, noise, ops, rewrite, run_onnx


@pytest.mark.parametrize("shape", [(1, 3, 9, 9), (1, 2, 12, 15)])
@pytest.mark.parametrize(
    "pool",
    [
        nn.MaxPool2d(3, 1, dilation=2),
        nn.MaxPool2d(3, 1, 1, dilation=2),
        nn.MaxPool2d((3, 2), 2, (1, 1), dilation=(2, 3)),
        nn.MaxPool2d(3, 2, 1, dilation=(2, 1), ceil_mode=True),
    ],
)
def test_rewritten(pool: nn.Module, shape: tuple[int, ...]) -> None:
    module = nn.Sequential(nn.Tanh(), pool)
    rewritten, reports = rewrite(export(module, shape))
    assert reports["dilated-max-pool"].fired == 1 and ops(rewritten)["MaxPool"] == 0
    x = noise(shape) - 3  # negative: a border of zeros would be the largest
    # The two libraries' tanh.
    np.testing.assert_allclose(run_onnx(rewritten, x), module(torch.from_numpy(x)).numpy(), rtol=1e-6)


def test_without_dilations_it_stays() -> None:
    rewritten, reports = rewrite(export(nn.MaxPool2d(3, 2), (1, 3, 9, 9)))
    assert not reports["dilated-max-pool"].fired and ops(rewritten)["MaxPool"] == 1
