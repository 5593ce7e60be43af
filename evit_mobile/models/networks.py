"""Backbone, neck and head put together: the detector and the segmenter."""

from __future__ import annotations

from torch import Tensor, nn

from evit_mobile.models.efficientvit import EfficientViTBackbone, EfficientViTConfig
from evit_mobile.models.heads import STRIDES, DetectionHead, PyramidNeck, SegmentationHead, encode_boxes, enlarge


class EfficientViTDetector(nn.Module):
    """Backbone, path-aggregation neck and YOLOX head."""

    def __init__(self, config: EfficientViTConfig, width: int, classes: int, *, decode: bool = True) -> None:
        super().__init__()
        self.backbone = EfficientViTBackbone(config)
        _, c2, c3, c4 = config.stage_widths
        self.neck = PyramidNeck((c2, c3, c4), width)
        self.head = DetectionHead(width, classes, decode=decode)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """[B, 3, H, W], normalised RGB, H and W divisible by 32 -> what ``DetectionHead`` gives."""
        outputs: tuple[Tensor, ...] = self.head(self.neck(*self.backbone(image)))
        return outputs

    def encoded(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Centres, logarithms of sizes and scores: see ``encode_boxes``."""
        return encode_boxes(self.head.raw(self.neck(*self.backbone(image))))


class EfficientViTSegmenter(nn.Module):
    """Backbone and segmentation head."""

    def __init__(
        self, config: EfficientViTConfig, width: int, classes: int, *, argmax: bool = False, upsample: bool = False
    ) -> None:
        super().__init__()
        self.argmax, self.upsample = argmax, upsample
        self.backbone = EfficientViTBackbone(config)
        self.head = SegmentationHead(config.stage_widths[1], config.stage_widths[3], width, classes)

    def forward(self, image: Tensor) -> Tensor:
        """[B, 3, H, W], normalised RGB, H and W divisible by 32 -> logits [B, h, w, classes], or with ``argmax``
        classes [B, h, w].

        h and w are H and W with ``upsample``, else an eighth of them.
        """
        scores = self.scores(image)
        return scores.argmax(-1) if self.argmax else scores

    def scores(self, image: Tensor) -> Tensor:
        """The logits, also of a network that gives classes: what tells a wrong class from one of two that score
        alike.
        """
        p2, _, p4 = self.backbone(image)
        logits: Tensor = self.head(p2, p4)
        if self.upsample:
            logits = enlarge(logits, STRIDES[0])
        return logits.permute(0, 2, 3, 1)
