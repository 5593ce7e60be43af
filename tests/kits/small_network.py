"""A network of three layers at 32x32: it converts in a moment."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 16, 3, 2, 1), nn.Hardswish(), nn.Conv2d(16, 16, 3, 1, 1, groups=16), nn.Conv2d(16, 32, 1)
        )

    def forward(self, image: Tensor) -> Tensor:
        features: Tensor = self.layers(image)
        return features


def make() -> nn.Module:
    """The network with seeded weights, for input [1, 3, 32, 32]."""
    torch.manual_seed(0)
    return Small().eval()


class Concatenating(nn.Module):
    """Three convolutions of one map, put together."""

    def __init__(self) -> None:
        super().__init__()
        self.branches = nn.ModuleList(nn.Conv2d(3, 8 * width, 3, 2, 1) for width in (1, 2, 3))

    def forward(self, image: Tensor) -> Tensor:
        return torch.cat([branch(image) for branch in self.branches], 1)


def concatenating() -> nn.Module:
    """That network with seeded weights, for input [1, 3, 32, 32]."""
    torch.manual_seed(0)
    return Concatenating().eval()
