"""The paper's COCO detectors (Table 1): EfficientViT-Base, a YOLOX neck and head.

Their outputs are ``boxes`` [1, M, 4] (x0, y0, x1, y1 in pixels of the input) and ``scores`` [1, M, 80]; overlapping
boxes are left to ``evit_mobile.vision.boxes``. ``+raw-heads`` leaves the decoding out, ``+softmax`` is as in
``classification``.

Parameters: a convolution's weight costs at least one multiply-accumulate for each place of the coarsest map, H/32 x
W/32. The paper's 10.6 M leave 8.3 M to neck and head, which is 1.4 G multiply-accumulates at 416x416 where the paper's
figure leaves 0.75 G: no head can have both (``paper.parameter_bound``), and one that came nearer would have to do its
work at stride 32 alone. Where those parameters are the paper does not say; a classification head that was counted in
would be 5.6 M of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from evit_mobile.models.registry import PaperFigures, register_model
from evit_mobile.specs import WHOLE_IMAGE, Resolution

if TYPE_CHECKING:
    from torch import nn

CLASSES = 80
WIDTH = 64
OUTPUTS = ("boxes", "scores")
#: Of the three levels, finest first.
CLASS_LAYERS = tuple(f"head.levels.{level}.classes" for level in range(3))
RAW_HEADS, SOFTMAX = "raw-heads", "softmax"
RAW_OUTPUTS = tuple(
    f"{part}_{stride}" for stride in (8, 16, 32) for part in ("centre", "size", "objectness", "classes")
)
VARIANTS = {RAW_HEADS: RAW_OUTPUTS, SOFTMAX: None}


def _paper(macs_m: float) -> PaperFigures:
    return PaperFigures(10.6, macs_m, "arXiv 2205.14756 v1, Table 1")


def _detector(side: int, variants: frozenset[str]) -> nn.Module:
    from evit_mobile.models.efficientvit import base_config, softmax_twin
    from evit_mobile.models.networks import EfficientViTDetector

    config = base_config()
    if SOFTMAX in variants:
        config = softmax_twin(config, Resolution(side, side))
    return EfficientViTDetector(config, WIDTH, CLASSES, decode=RAW_HEADS not in variants)


@register_model(
    "det-r416",
    task="detection",
    resolution=416,
    outputs=OUTPUTS,
    paper=_paper(2100),
    variants=VARIANTS,
    preprocessing=WHOLE_IMAGE,
    class_layers=CLASS_LAYERS,
)
def det_r416(resolution: Resolution, variants: frozenset[str]) -> nn.Module:
    """EfficientViT-Det, 416x416."""
    return _detector(416, variants)


@register_model(
    "det-r512",
    task="detection",
    resolution=512,
    outputs=OUTPUTS,
    paper=_paper(3200),
    variants=VARIANTS,
    preprocessing=WHOLE_IMAGE,
    class_layers=CLASS_LAYERS,
)
def det_r512(resolution: Resolution, variants: frozenset[str]) -> nn.Module:
    """EfficientViT-Det, 512x512."""
    return _detector(512, variants)


@register_model(
    "det-r608",
    task="detection",
    resolution=608,
    outputs=OUTPUTS,
    paper=_paper(4400),
    variants=VARIANTS,
    preprocessing=WHOLE_IMAGE,
    class_layers=CLASS_LAYERS,
)
def det_r608(resolution: Resolution, variants: frozenset[str]) -> nn.Module:
    """EfficientViT-Det, 608x608."""
    return _detector(608, variants)
