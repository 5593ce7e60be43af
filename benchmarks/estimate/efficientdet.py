"""EfficientDet-Lite, as google/automl describes it (efficientdet/hparams_config.py, efficientdet_arch.py), with seeded
weights: what a published latency of it is compared with.

It ends in the boxes' offsets and the classes' scores of all anchors; the published files go on to select boxes by
TFLite_Detection_PostProcess, an op outside the delegate.
"""

from __future__ import annotations

from collections.abc import Sequence

import timm
import torch
from torch import Tensor, nn
from torch.nn import functional

ANCHORS, CLASSES, LEVELS, HEAD_REPEATS = 9, 90, 5, 3


class Separable(nn.Sequential):
    """A depthwise 3x3 convolution and a 1x1 one."""

    def __init__(self, channels: int, out: int, normalised: bool = True) -> None:
        layers = [nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False), nn.Conv2d(channels, out, 1)]
        super().__init__(*layers, *([nn.BatchNorm2d(out)] if normalised else []))


class Lateral(nn.Sequential):
    """To the pyramid's channels, if they are others."""

    def __init__(self, channels: int, out: int) -> None:
        layers = [] if channels == out else [nn.Conv2d(channels, out, 1), nn.BatchNorm2d(out)]
        super().__init__(*layers)


def _halved(maps: Tensor) -> Tensor:
    """The largest of 3x3 at every second place, padded as TensorFlow's ``SAME``: an even side at its end alone."""
    return functional.max_pool2d(maps, 3, 2, maps.shape[-1] % 2, ceil_mode=True)


class Cell(nn.Module):
    """One BiFPN layer: [B, C, H, W] of levels 3 to 7, down from the coarsest and up again, inputs summed."""

    def __init__(self, inputs: Sequence[int], channels: int) -> None:
        super().__init__()
        self.down = nn.ModuleList(Lateral(width, channels) for width in inputs)
        # The middle levels are read twice, each time through a convolution of its own.
        self.up = nn.ModuleList(Lateral(width, channels) for width in inputs)
        self.down_convs = nn.ModuleList(Separable(channels, channels) for _ in range(LEVELS - 1))
        self.up_convs = nn.ModuleList(Separable(channels, channels) for _ in range(LEVELS - 1))

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        down: list[Tensor] = [self.down[-1](maps[-1])]
        for level in range(LEVELS - 2, -1, -1):
            here = self.down[level](maps[level])
            summed = here + functional.interpolate(down[0], size=here.shape[-2:], mode="nearest")
            down.insert(0, self.down_convs[level](functional.relu6(summed)))
        out = down[:1]
        for level in range(1, LEVELS):
            summed = self.up[level](maps[level]) + _halved(out[-1])
            if level < LEVELS - 1:
                summed = summed + down[level]
            out.append(self.up_convs[level - 1](functional.relu6(summed)))
        return out


class Head(nn.Module):
    """Convolutions that all levels share, with normalisations that each has for itself."""

    def __init__(self, channels: int, values: int) -> None:
        super().__init__()
        self.values = values
        self.convs = nn.ModuleList(Separable(channels, channels, normalised=False) for _ in range(HEAD_REPEATS))
        self.norms = nn.ModuleList(
            nn.ModuleList(nn.BatchNorm2d(channels) for _ in range(HEAD_REPEATS)) for _ in range(LEVELS)
        )
        self.predict = Separable(channels, ANCHORS * values, normalised=False)

    def forward(self, maps: list[Tensor]) -> Tensor:
        """[B, anchors of all levels, values]."""
        levels = []
        for features, norms in zip(maps, self.norms):
            assert isinstance(norms, nn.ModuleList)
            for conv, norm in zip(self.convs, norms):
                features = functional.relu6(norm(conv(features)))
            levels.append(self.predict(features).permute(0, 2, 3, 1).flatten(1).unflatten(1, (-1, self.values)))
        return torch.cat(levels, 1)


class EfficientDetLite(nn.Module):
    """[B, 3, S, S] to offsets [B, anchors, 4] and scores [B, anchors, 90]."""

    def __init__(self, backbone: str, channels: int, cells: int) -> None:
        super().__init__()
        self.backbone = timm.create_model(backbone, features_only=True, out_indices=(2, 3, 4))
        widths = [*self.backbone.feature_info.channels(), channels, channels]
        self.level6 = Lateral(widths[2], channels)
        later = [[channels] * LEVELS] * (cells - 1)
        self.cells = nn.ModuleList(Cell(inputs, channels) for inputs in (widths, *later))
        self.boxes, self.classes = Head(channels, 4), Head(channels, CLASSES)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        maps = list(self.backbone(image))
        maps.append(_halved(self.level6(maps[-1])))
        maps.append(_halved(maps[-1]))
        for cell in self.cells:
            maps = cell(maps)
        return self.boxes(maps), torch.sigmoid(self.classes(maps))


def _make(backbone: str, channels: int, cells: int) -> EfficientDetLite:
    torch.manual_seed(0)
    return EfficientDetLite(backbone, channels, cells).eval()


def lite0() -> EfficientDetLite:
    """For 320x320."""
    return _make("efficientnet_lite0", 64, 3)


def lite1() -> EfficientDetLite:
    """For 384x384."""
    return _make("efficientnet_lite1", 88, 4)
