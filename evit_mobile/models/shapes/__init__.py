"""A small detector with trained weights: it finds discs, squares and triangles, and is what the demo runs.

The network is the paper's with the same blocks, neck and head, only narrower and shallower. It was trained on drawings
of 128x128 pixels; ``drawing.png`` beside this file is drawing 2,000,001 of ``benchmarks.accuracy.shapes``, which
training did not see, enlarged four times.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from evit_mobile.models.registry import Trained, register_model
from evit_mobile.specs import WHOLE_IMAGE, Resolution

if TYPE_CHECKING:
    from torch import nn

    from evit_mobile.models.efficientvit import EfficientViTConfig

CLASSES = ("disc", "square", "triangle")
SIDE = 128
WIDTH = 24
#: A picture for the detector.
DRAWING = Path(__file__).with_name("drawing.png")


def small_config() -> EfficientViTConfig:
    """The backbone."""
    from evit_mobile.models.efficientvit import EfficientViTConfig

    return EfficientViTConfig(8, (8, 16, 24, 32), (1, 1, 1, 1), heads=(3, 4), head_dim=8)


@register_model(
    "shapes-det",
    task="detection",
    resolution=SIDE,
    outputs=("boxes", "scores"),
    preprocessing=WHOLE_IMAGE,
    trained=Trained(Path(__file__).with_name("shapes-det.safetensors"), CLASSES),
)
def detector(resolution: Resolution, variants: frozenset[str]) -> nn.Module:
    """A narrow EfficientViT-Det of three classes."""
    from evit_mobile.models.networks import EfficientViTDetector

    return EfficientViTDetector(small_config(), WIDTH, len(CLASSES))
