"""Drawings of discs, squares and triangles, and a segmenter that is small enough to learn them in minutes.

The detector of the same drawings, ``shapes-det``, comes with the package (``evit_mobile.models.shapes``). Importing
this file registers the segmenter as ``shapes-seg``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Iterator

import numpy as np
from numpy.typing import NDArray

from evit_mobile.models.registry import register_model
from evit_mobile.models.shapes import CLASSES, SIDE, small_config
from evit_mobile.specs import WHOLE_IMAGE, Resolution
from evit_mobile.vision.images import normalise

if TYPE_CHECKING:
    from PIL import Image
    from torch import nn

SEGMENTER_WIDTH = 32


@dataclass(frozen=True)
class Drawing:
    """``boxes`` [K, 4]: x0, y0, x1, y1 in pixels; ``classes`` [K]; ``mask`` [SIDE, SIDE]: 0 is background, else class +
    1.
    """

    image: Image.Image
    boxes: NDArray[np.float32]
    classes: NDArray[np.int64]
    mask: NDArray[np.int64]


def draw(seed: int) -> Drawing:
    """One to three shapes of 28 to 60 pixels that do not overlap, in random colours on a mottled ground."""
    from PIL import Image, ImageDraw

    rng = np.random.default_rng(seed)
    ground = rng.integers(60, 196, 3) + rng.normal(0, 12, (SIDE, SIDE, 3))
    image = Image.fromarray(ground.clip(0, 255).astype(np.uint8))
    mask = Image.new("L", (SIDE, SIDE))
    boxes: list[tuple[int, int, int, int]] = []
    classes: list[int] = []
    for _ in range(30):
        side = int(rng.integers(28, 61))
        x, y = (int(value) for value in rng.integers(0, SIDE - side, 2))
        box = (x, y, x + side, y + side)
        if len(boxes) == 3 or any(box[0] < b[2] and b[0] < box[2] and box[1] < b[3] and b[1] < box[3] for b in boxes):
            continue
        kind = int(rng.integers(len(CLASSES)))
        # Far from the ground's colour in every channel.
        colour = tuple(
            int(value)
            for value in (ground.mean((0, 1)) + rng.choice([-1, 1], 3) * rng.integers(70, 110, 3)).clip(0, 255)
        )
        for canvas, fill in ((ImageDraw.Draw(image), colour), (ImageDraw.Draw(mask), kind + 1)):
            _shape(canvas, kind, box, fill)
        boxes.append(box)
        classes.append(kind)
    return Drawing(image, np.array(boxes, np.float32), np.array(classes), np.asarray(mask, np.int64))


def _shape(canvas: object, kind: int, box: tuple[int, int, int, int], fill: object) -> None:
    x0, y0, x1, y1 = box[0], box[1], box[2] - 1, box[3] - 1  # Pillow counts the last pixel in
    if kind == 0:
        canvas.ellipse((x0, y0, x1, y1), fill=fill)  # type: ignore[attr-defined]
    elif kind == 1:
        canvas.rectangle((x0, y0, x1, y1), fill=fill)  # type: ignore[attr-defined]
    else:
        canvas.polygon([((x0 + x1) // 2, y0), (x0, y1), (x1, y1)], fill=fill)  # type: ignore[attr-defined]


def inputs(drawing: Drawing) -> NDArray[np.float32]:
    """[1, SIDE, SIDE, 3], NHWC, normalised as the models want."""
    return normalise(np.asarray(drawing.image, np.float32)[np.newaxis] / np.float32(255), WHOLE_IMAGE)


def calibration(count: int = 64) -> Iterator[NDArray[np.float32]]:
    """Model inputs for calibration: of the drawings that training may see."""
    return (inputs(draw(seed)) for seed in range(count))


@register_model("shapes-seg", task="segmentation", resolution=SIDE, outputs=("logits",), preprocessing=WHOLE_IMAGE)
def segmenter(resolution: Resolution, variants: frozenset[str]) -> nn.Module:
    """A narrow EfficientViT-Seg of background and three classes."""
    from evit_mobile.models.networks import EfficientViTSegmenter

    return EfficientViTSegmenter(small_config(), SEGMENTER_WIDTH, len(CLASSES) + 1, upsample=True)
