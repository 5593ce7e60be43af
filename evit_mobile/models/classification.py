"""The paper's ImageNet models (Table 3): EfficientViT-Base at two resolutions, and at width 1.2."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evit_mobile.models.registry import PaperFigures, register_model

if TYPE_CHECKING:
    from torch import nn


def _paper(params_m: float, macs_m: float, top1: float) -> PaperFigures:
    return PaperFigures(params_m, macs_m, "arXiv 2205.14756 v1, Table 3", top1)


def _classifier(width_multiplier: float) -> nn.Module:
    from evit_mobile.models.efficientvit import EfficientViTClassifier, base_config

    return EfficientViTClassifier(base_config(width_multiplier))


@register_model("base-r192", task="classification", resolution=192, outputs=("logits",), paper=_paper(7.9, 304, 77.7))
def base_r192() -> nn.Module:
    """EfficientViT-Base, 192x192."""
    return _classifier(1.0)


@register_model("base-r224", task="classification", resolution=224, outputs=("logits",), paper=_paper(7.9, 406, 78.6))
def base_r224() -> nn.Module:
    """EfficientViT-Base, 224x224."""
    return _classifier(1.0)


@register_model("base-r224-w1.2", task="classification", resolution=224, outputs=("logits",), paper=_paper(10.9, 584, 79.7))
def base_r224_w1_2() -> nn.Module:
    """EfficientViT-Base with every width times 1.2, 224x224."""
    return _classifier(1.2)
