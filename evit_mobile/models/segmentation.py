"""The paper's Cityscapes models (Table 2): EfficientViT-Base and a head in the manner of Fast-SCNN.

The output is ``logits`` [1, H/8, W/8, 19], NHWC. ``+upsample`` enlarges them to the input's size inside the graph;
``+argmax`` gives ``classes`` [1, H, W] integers instead, at 1/8 or, with ``+upsample``, at full size. ARG_MAX is an
operator of TFLite's that XNNPACK does not know: it stays outside the partition. Parameters: the paper's 6.5 M cannot be
convolutions of its MACs, see ``detection``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from evit_mobile.models.registry import PaperFigures, register_model
from evit_mobile.specs import WHOLE_IMAGE, Resolution

if TYPE_CHECKING:
    from torch import nn

CLASSES = 19
WIDTH = 176
OUTPUTS = ("logits",)
ARGMAX, UPSAMPLE = "argmax", "upsample"
VARIANTS = {UPSAMPLE: None, ARGMAX: ("classes",)}


def _paper(macs_m: float) -> PaperFigures:
    return PaperFigures(6.5, macs_m, "arXiv 2205.14756 v1, Table 2")


def _segmenter(variants: frozenset[str]) -> nn.Module:
    from evit_mobile.models.efficientvit import base_config
    from evit_mobile.models.networks import EfficientViTSegmenter

    return EfficientViTSegmenter(
        base_config(), WIDTH, CLASSES, argmax=ARGMAX in variants, upsample=UPSAMPLE in variants
    )


@register_model(
    "seg-r1408",
    task="segmentation",
    resolution=(704, 1408),
    outputs=OUTPUTS,
    paper=_paper(9100),
    variants=VARIANTS,
    preprocessing=WHOLE_IMAGE,
    class_layers=("head.classify",),
)
def seg_r1408(resolution: Resolution, variants: frozenset[str]) -> nn.Module:
    """EfficientViT-Seg, 704x1408."""
    return _segmenter(variants)


@register_model(
    "seg-r1536",
    task="segmentation",
    resolution=(768, 1536),
    outputs=OUTPUTS,
    paper=_paper(10800),
    variants=VARIANTS,
    preprocessing=WHOLE_IMAGE,
    class_layers=("head.classify",),
)
def seg_r1536(resolution: Resolution, variants: frozenset[str]) -> nn.Module:
    """EfficientViT-Seg, 768x1536."""
    return _segmenter(variants)


@register_model(
    "seg-r2048",
    task="segmentation",
    resolution=(1024, 2048),
    outputs=OUTPUTS,
    paper=_paper(19100),
    variants=VARIANTS,
    preprocessing=WHOLE_IMAGE,
    class_layers=("head.classify",),
)
def seg_r2048(resolution: Resolution, variants: frozenset[str]) -> nn.Module:
    """EfficientViT-Seg, 1024x2048."""
    return _segmenter(variants)
