"""A normalisation that no convolution takes up becomes a depthwise convolution 1x1. Oracle: PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from tests.kits.graphs import export, noise, ops, rewrite, run_onnx, seeded


class Joined(nn.Module):
    """A normalisation of a map and its square, joined."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(2 * channels, eps=1e-3)
        nn.init.uniform_(self.norm.running_mean, -1, 1)  # type: ignore[arg-type]
        nn.init.uniform_(self.norm.running_var, 0.5, 2)  # type: ignore[arg-type]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.norm(torch.cat([x, x * x], 1)))


@pytest.mark.parametrize("shape", [(1, 4, 8, 8), (1, 8, 8, 8), (1, 3, 5, 7)])
def test_rewritten(shape: tuple[int, ...]) -> None:
    module = seeded(Joined(shape[1]))
    rewritten, reports = rewrite(export(module, shape))
    assert reports["batch-norm"].fired == 1
    assert ops(rewritten)["Conv"] == 1 and "BatchNormalization" not in ops(rewritten)
    x = noise(shape)
    expected = module(torch.from_numpy(x)).detach().numpy()
    # Scale and mean are folded in float64; one product and one sum in float32 remain, of values up to 30.
    np.testing.assert_allclose(run_onnx(rewritten, x), expected, rtol=1e-5, atol=1e-5)


def test_behind_a_convolution_it_stays() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).eval()
    stock = export(module, (1, 3, 8, 8))
    rewritten, reports = rewrite(stock)
    assert not reports["batch-norm"].fired and ops(rewritten) == ops(stock)
