"""The normalisation of pixels, taken into the first convolution. Oracle: PyTorch in float64."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.kits.graphs import export, ops, rewrite, run_onnx, seeded

SHAPE = (1, 3, 9, 8)
MEAN = torch.tensor([123.675, 116.28, 103.53]).reshape(1, 3, 1, 1)
STD = torch.tensor([58.395, 57.12, 57.375]).reshape(1, 3, 1, 1)


class Normalised(nn.Module):
    def __init__(self, before: Callable[[Tensor], Tensor], layer: nn.Module) -> None:
        super().__init__()
        self.before, self.layer = before, layer

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layer(self.before(x))
        return y


def _by_channel(x: Tensor) -> Tensor:
    return (x - MEAN.to(x)) / STD.to(x)


def _by_steps(x: Tensor) -> Tensor:
    return 2.0 - (x / 255 * 2 - 1) * STD.to(x)


def _scaled(x: Tensor) -> Tensor:
    return x / 64


@pytest.mark.parametrize(
    ("before", "layer", "left"),
    [
        (_by_channel, nn.Conv2d(3, 4, 3, 2), {}),  # no border: nothing of it is left
        (_by_channel, nn.Conv2d(3, 4, 3, 2, 1), {"Sub": 1}),
        (_by_channel, nn.Conv2d(3, 4, 3, 2, 1, bias=False), {"Sub": 1}),
        (_by_channel, nn.Conv2d(3, 6, 3, padding="same", groups=3), {"Sub": 1}),
        (_by_steps, nn.Conv2d(3, 4, 4, 4), {}),
        (_by_steps, nn.Conv2d(3, 4, 3, 1, 1), {"Sub": 1}),
        (_scaled, nn.Conv2d(3, 4, 3, 1, 1), {}),  # zero stays zero
    ],
)
def test_rewritten(before: Callable[[Tensor], Tensor], layer: nn.Module, left: dict[str, int]) -> None:
    module = seeded(Normalised(before, layer))
    rewritten, reports = rewrite(export(module, SHAPE))
    assert reports["input-normalisation"].fired == 1
    assert ops(rewritten) == {"Conv": 1, **left}
    x = np.random.default_rng(0).integers(0, 256, SHAPE).astype(np.float32)
    expected = module.double()(torch.from_numpy(x).double()).numpy()
    # 48 products of pixels of up to 255 with weights of 0.3 / 57, and as many of the mean, that nearly cancel.
    np.testing.assert_allclose(run_onnx(rewritten, x), expected, atol=96 * 2**-24 * np.abs(expected).max() * 8)


def test_a_row_shares_its_mean() -> None:
    """One value a channel would be a call of XNNPACK's kernel for each pixel."""
    rewritten, _ = rewrite(export(seeded(Normalised(_by_channel, nn.Conv2d(3, 4, 3, 1, 1))), SHAPE))
    (node,) = (node for node in rewritten.graph.node if node.op_type == "Sub")
    (mean,) = (item for item in rewritten.graph.initializer if item.name == node.input[1])
    assert list(mean.dims) == [1, 3, 1, 8]


class ReadTwice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y = _by_channel(x)
        return self.conv(y) + y


@pytest.mark.parametrize(
    "module",
    [
        ReadTwice(),
        Normalised(_by_channel, nn.Sequential(nn.ReLU(), nn.Conv2d(3, 4, 3))),
        Normalised(lambda x: x - x.mean((2, 3), keepdim=True), nn.Conv2d(3, 4, 3)),
        Normalised(lambda x: x - torch.arange(8.0).to(x), nn.Conv2d(3, 4, 3)),
        Normalised(lambda x: 3 / (x + 1), nn.Conv2d(3, 4, 3)),
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3)),
    ],
)
def test_stays(module: nn.Module) -> None:
    stock = export(seeded(module), SHAPE)
    rewritten, reports = rewrite(stock)
    assert not reports["input-normalisation"].fired
    assert ops(rewritten)["Conv"] == ops(stock)["Conv"]
