"""Depthwise convolutions of seeded networks, against PyTorch's own."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from evit_mobile.models.seeding import _QuickDepthwise


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(5, 5, 3, padding=1, groups=5, bias=False),
        nn.Conv2d(5, 5, (5, 3), stride=(2, 1), padding=(2, 0), groups=5),
        nn.Conv2d(5, 5, 3, stride=2, dilation=2, groups=5),
        nn.Conv2d(5, 5, 3, padding="same", groups=5),
        nn.Conv2d(6, 6, 3, groups=2),
        nn.Conv2d(1, 1, 3),
    ],
    ids=lambda layer: layer.extra_repr(),
)
def test_quick_depthwise_is_conv2d(layer: nn.Conv2d) -> None:
    """The same sums of 9 to 25 products in another order: a few units in the last place of float64."""
    generator = torch.Generator().manual_seed(0)
    layer = layer.double()
    x = torch.randn(2, layer.in_channels, 11, 14, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        expected = layer(x)
        with _QuickDepthwise():
            actual = layer(x)
    torch.testing.assert_close(actual, expected, rtol=1e-13, atol=1e-13)
