"""The paper's ImageNet models (Table 3): EfficientViT-Base at two resolutions, and at width 1.2; with the ablation's
twins.

The twins (section 4.5): ``+softmax`` has softmax attention with heads for the same MACs at the model's own resolution;
``+vanilla`` has no convolution in its FFNs, and its width is times 1.03 for similar MACs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from evit_mobile.models.registry import PaperFigures, register_model
from evit_mobile.specs import Resolution

if TYPE_CHECKING:
    from torch import nn

SOFTMAX, VANILLA = "softmax", "vanilla"
VANILLA_WIDTH = 1.03
CLASS_LAYERS = ("head.classify",)


def _paper(params_m: float, macs_m: float, top1: float) -> PaperFigures:
    return PaperFigures(params_m, macs_m, "arXiv 2205.14756 v1, Table 3", top1)


def _classifier(width_multiplier: float, resolution: Resolution, variants: frozenset[str]) -> nn.Module:
    from dataclasses import replace

    from evit_mobile.models.efficientvit import EfficientViTClassifier, base_config, softmax_twin

    config = base_config(width_multiplier * (VANILLA_WIDTH if VANILLA in variants else 1))
    if VANILLA in variants:
        config = replace(config, ffn_convolution=False)
    return EfficientViTClassifier(softmax_twin(config, resolution) if SOFTMAX in variants else config)


@register_model(
    "base-r192",
    task="classification",
    resolution=192,
    outputs=("logits",),
    class_layers=CLASS_LAYERS,
    paper=_paper(7.9, 304, 77.7),
    variants={SOFTMAX: None, VANILLA: None},
)
def base_r192(resolution: Resolution, variants: frozenset[str]) -> nn.Module:
    """EfficientViT-Base, 192x192."""
    return _classifier(1.0, Resolution(192, 192), variants)


@register_model(
    "base-r224",
    task="classification",
    resolution=224,
    outputs=("logits",),
    class_layers=CLASS_LAYERS,
    paper=_paper(7.9, 406, 78.6),
    variants={SOFTMAX: None, VANILLA: None},
)
def base_r224(resolution: Resolution, variants: frozenset[str]) -> nn.Module:
    """EfficientViT-Base, 224x224."""
    return _classifier(1.0, Resolution(224, 224), variants)


@register_model(
    "base-r224-w1.2",
    task="classification",
    resolution=224,
    outputs=("logits",),
    class_layers=CLASS_LAYERS,
    paper=_paper(10.9, 584, 79.7),
    variants={SOFTMAX: None},
)
def base_r224_w1_2(resolution: Resolution, variants: frozenset[str]) -> nn.Module:
    """EfficientViT-Base with every width times 1.2, 224x224."""
    return _classifier(1.2, Resolution(224, 224), variants)
