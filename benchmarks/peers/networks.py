"""The rows of the comparison with other converters, and the networks that no registry has."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from evit_mobile.models.efficientvit import EfficientViTBackbone, base_config, initialise


class Headless(nn.Module):
    """EfficientViT-Base up to P4: at 1024x2048 a classifier's head would be beside the point."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = EfficientViTBackbone(base_config())

    def forward(self, image: Tensor) -> Tensor:
        """[1, 3, H, W] -> P4 [1, 192, H/32, W/32]."""
        p4: Tensor = self.backbone(image)[2]
        return p4


def headless() -> nn.Module:
    """EfficientViT-Base without its head, weights of seed 0."""
    module = Headless()
    initialise(module, 0)
    return module


@dataclass(frozen=True)
class Row:
    """A network at a resolution (``SIDE`` or ``HxW``); ``model`` is what ``evit-mobile convert --model`` takes."""

    title: str
    model: str
    resolution: str


_HEADLESS = "benchmarks.peers.networks:headless"
ROWS = (
    Row("base-r224", "base-r224", "224"),
    Row("base at 512", "base-r224", "512"),
    Row("base, headless, at 512x1024", _HEADLESS, "512x1024"),
    Row("base, headless, at 1024x2048", _HEADLESS, "1024x2048"),
    Row("timm efficientvit_b1", "timm:efficientvit_b1", "224"),
    Row("timm efficientvit_b1 at 512", "timm:efficientvit_b1", "512"),
)
