"""What stands on the pyramid P2, P3, P4 (strides 8, 16, 32): the detector's neck and head, and the segmentation head.

The paper (section 3.2.3) names YOLOX for detection and "a lightweight head comprising several convolution layers,
following Fast-SCNN" for segmentation; widths and the neck are not stated. They were chosen here so that the
multiply-accumulates are the paper's, with the backbone's own rules: hard-swish everywhere, 5x5 for every depthwise
convolution, inverted residuals with the downsampling shortcut.

Maps are enlarged bilinearly and not by repetition: XNNPACK runs RESIZE_BILINEAR and leaves RESIZE_NEAREST_NEIGHBOR to
TFLite's own kernel, which would split the model into several partitions. Outputs that are maps are NHWC, in PyTorch as
in TFLite.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from evit_mobile.models.efficientvit import ConvBatchNorm, MBConv

#: Strides of P2, P3 and P4, in pixels of the input.
STRIDES = (8, 16, 32)
#: No box is larger than this many strides, e to the power of it: 125, which is 1000 pixels at stride 8.
LARGEST_LOG_SIZE = math.log(125)
Pyramid = tuple[Tensor, Tensor, Tensor]


def enlarge(x: Tensor, factor: int) -> Tensor:
    """[B, C, H, W] -> [B, C, factor * H, factor * W], bilinear, pixel centres kept in place."""
    return F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)


class PyramidNeck(nn.Module):
    """Path aggregation as in YOLOX: from coarse to fine, then back. All three maps come out with ``width`` channels."""

    def __init__(self, inputs: tuple[int, int, int], width: int, expand_ratio: int = 3, kernel_size: int = 5) -> None:
        super().__init__()

        def block(stride: int) -> MBConv:
            return MBConv(width, width, stride=stride, expand_ratio=expand_ratio, kernel_size=kernel_size)

        self.lateral = nn.ModuleList(ConvBatchNorm(channels, width, 1, act=False) for channels in inputs)
        self.fine2, self.fine3 = block(1), block(1)
        self.down2, self.down3 = block(2), block(2)
        self.coarse3, self.coarse4 = block(1), block(1)

    def forward(self, p2: Tensor, p3: Tensor, p4: Tensor) -> Pyramid:
        """[B, C2, H/8, W/8], [B, C3, H/16, W/16], [B, C4, H/32, W/32] -> the same sizes, ``width`` channels."""
        p2, p3, p4 = (lateral(level) for lateral, level in zip(self.lateral, (p2, p3, p4)))
        p3 = self.fine3(p3 + enlarge(p4, 2))
        p2 = self.fine2(p2 + enlarge(p3, 2))
        p3 = self.coarse3(p3 + self.down2(p2))
        p4 = self.coarse4(p4 + self.down3(p3))
        return p2, p3, p4


class DetectionLevel(nn.Module):
    """YOLOX's decoupled head on one level: two convolutions for classes, two for boxes and objectness.

    A box is predicted as centre and size by two convolutions, so that decoding needs no slicing.
    """

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.stem = ConvBatchNorm(width, width, 1)
        self.class_branch = nn.Sequential(ConvBatchNorm(width, width, 3), ConvBatchNorm(width, width, 3))
        self.box_branch = nn.Sequential(ConvBatchNorm(width, width, 3), ConvBatchNorm(width, width, 3))
        self.classes = nn.Conv2d(width, classes, 1)
        self.centre = nn.Conv2d(width, 2, 1)
        self.size = nn.Conv2d(width, 2, 1)
        self.objectness = nn.Conv2d(width, 1, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """[B, width, h, w] -> centre [B, h, w, 2], size [B, h, w, 2], objectness [B, h, w, 1], classes [B, h, w,
        classes]: all raw.
        """
        x = self.stem(x)
        boxes, classes = self.box_branch(x), self.class_branch(x)
        maps = (self.centre(boxes), self.size(boxes), self.objectness(boxes), self.classes(classes))
        centre, size, objectness, class_scores = (part.permute(0, 2, 3, 1) for part in maps)
        return centre, size, objectness, class_scores


class DetectionHead(nn.Module):
    """Anchor-free detection on three levels [58]; decoded inside the graph, or raw."""

    def __init__(self, width: int, classes: int, *, decode: bool = True) -> None:
        super().__init__()
        self.decode = decode
        self.levels = nn.ModuleList(DetectionLevel(width, classes) for _ in STRIDES)

    def forward(self, pyramid: Pyramid) -> tuple[Tensor, ...]:
        """Three maps of ``width`` channels -> boxes [B, M, 4] and scores [B, M, classes], or the raw maps.

        M counts the places of all levels, finest first, each level row by row. Boxes are x0, y0, x1, y1 in pixels of
        the input; they may reach beyond it. Scores are class probability times objectness. Raw: per level what
        ``DetectionLevel`` gives, NHWC.
        """
        raw = self.raw(pyramid)
        return decode_boxes(raw) if self.decode else tuple(part for level in raw for part in level)

    def raw(self, pyramid: Pyramid) -> list[tuple[Tensor, Tensor, Tensor, Tensor]]:
        """What ``DetectionLevel`` gives, of each level."""
        return [level(x) for level, x in zip(self.levels, pyramid)]


def decode_boxes(raw: list[tuple[Tensor, Tensor, Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """YOLOX's decoding: centre = (cell + t_xy) * stride, size = exp(t_wh) * stride; score = sigmoid(objectness) *
    sigmoid(class).

    The exponent is held below LARGEST_LOG_SIZE, which YOLOX does not do: an untrained or a half-precision model would
    give infinity. ``raw`` has one (centre, size, objectness, classes), each [B, h, w, …], for every stride of
    ``STRIDES``; see ``DetectionHead``.
    """
    middle, size, strides, objectness, classes = _places(raw)
    half = torch.exp(size.clamp(max=LARGEST_LOG_SIZE)) * (strides.to(size) / 2)
    boxes = torch.cat([middle - half, middle + half], -1)
    return boxes, torch.sigmoid(classes) * torch.sigmoid(objectness)


def encode_boxes(raw: list[tuple[Tensor, Tensor, Tensor, Tensor]]) -> tuple[Tensor, Tensor, Tensor]:
    """``decode_boxes`` without the exponent: centres [B, M, 2] (x, y) in pixels of the input, the logarithms of widths
    and heights [B, M, 2], and scores [B, M, classes].
    """
    middle, size, strides, objectness, classes = _places(raw)
    logarithms = size.clamp(max=LARGEST_LOG_SIZE) + torch.log(strides.to(size))
    return middle, logarithms, torch.sigmoid(classes) * torch.sigmoid(objectness)


def _places(raw: list[tuple[Tensor, Tensor, Tensor, Tensor]]) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Of all levels, [B, M, …]: centres in pixels, raw sizes, strides, objectness and classes."""
    centre, size, objectness, classes = (torch.cat([part.flatten(1, 2) for part in parts], 1) for parts in zip(*raw))
    shapes = [(int(level[0].shape[1]), int(level[0].shape[2])) for level in raw]
    cells, strides = grid(shapes)
    return (centre + cells.to(centre)) * strides.to(centre), size, strides, objectness, classes


def grid(shapes: list[tuple[int, int]]) -> tuple[Tensor, Tensor]:
    """For the levels' (height, width): the cells' x and y, [1, M, 2], and their strides, [1, M, 1]."""
    cells, strides = [], []
    for (height, width), stride in zip(shapes, STRIDES, strict=True):
        y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        cells.append(torch.stack([x, y], -1).reshape(1, -1, 2))
        strides.append(torch.full((1, height * width, 1), stride))
    return torch.cat(cells, 1).float(), torch.cat(strides, 1).float()


class SegmentationHead(nn.Module):
    """P4, enlarged four times, is added to P2; then two depthwise-separable convolutions and a classifier, as in
    Fast-SCNN [21].
    """

    def __init__(self, fine: int, coarse: int, width: int, classes: int, kernel_size: int = 5) -> None:
        super().__init__()
        self.fine = ConvBatchNorm(fine, width, 1, act=False)
        self.coarse = ConvBatchNorm(coarse, width, 1, act=False)
        self.blocks = nn.Sequential()
        for _ in range(2):
            self.blocks.append(ConvBatchNorm(width, width, kernel_size, groups=width))
            self.blocks.append(ConvBatchNorm(width, width, 1))
        self.classify = nn.Conv2d(width, classes, 1)

    def forward(self, p2: Tensor, p4: Tensor) -> Tensor:
        """[B, C2, H/8, W/8], [B, C4, H/32, W/32] -> logits [B, classes, H/8, W/8]."""
        x = F.hardswish(self.fine(p2) + enlarge(self.coarse(p4), 4))
        logits: Tensor = self.classify(self.blocks(x))
        return logits
