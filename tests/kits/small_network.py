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


class Various(nn.Module):
    """A layer of each kind whose kernels look something up or compute where to read: attention with softmax, sigmoid,
    ELU, and a bilinear enlargement.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.Hardswish(), nn.Conv2d(16, 16, 5, 1, 2, groups=16))
        self.gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(16, 16, 1), nn.Sigmoid())
        self.project = nn.Conv2d(16, 48, 1)
        self.head = nn.Sequential(nn.Conv2d(16, 24, 1), nn.ELU(), nn.MaxPool2d(2))

    def forward(self, image: Tensor) -> Tensor:
        features = self.stem(image)
        features = features * self.gate(features)
        query, key, value = self.project(features).flatten(2).chunk(3, 1)
        attended = torch.softmax(query.transpose(1, 2) @ key, -1) @ value.transpose(1, 2)
        wide = nn.functional.interpolate(
            attended.transpose(1, 2).reshape(features.shape), scale_factor=2, mode="bilinear"
        )
        result: Tensor = self.head(wide)
        return result


def various() -> nn.Module:
    """That network with seeded weights, for input [1, 3, 32, 32]."""
    torch.manual_seed(0)
    return Various().eval()
