"""Boxes and masks drawn onto the image that a model saw."""

from __future__ import annotations

import colorsys
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from evit_mobile.boxes import Detections
from evit_mobile.specs import Preprocessing

if TYPE_CHECKING:
    from PIL import Image


def seen_image(pixels: NDArray[np.float32], preprocessing: Preprocessing) -> Image.Image:
    """The image behind a model's input: [H, W, 3], normalised -> RGB."""
    from PIL import Image

    values = pixels * np.array(preprocessing.std) + np.array(preprocessing.mean)
    return Image.fromarray((255 * values).round().clip(0, 255).astype(np.uint8))


def colour(index: int) -> tuple[int, int, int]:
    """A colour for class ``index``; neighbours are far apart on the circle of hues."""
    red, green, blue = colorsys.hsv_to_rgb(index * 0.381966 % 1, 0.85, 1.0)
    return int(255 * red), int(255 * green), int(255 * blue)


def draw_boxes(image: Image.Image, found: Detections, names: list[str]) -> Image.Image:
    """A copy of ``image`` with each box framed and named."""
    from PIL import ImageDraw

    image = image.copy()
    canvas = ImageDraw.Draw(image)
    for box, score, index in zip(found.boxes, found.scores, found.classes):
        x0, y0, x1, y1 = (float(value) for value in box)
        canvas.rectangle((x0, y0, max(x0, x1), max(y0, y1)), outline=colour(int(index)), width=2)
        canvas.text((x0 + 3, y0 + 1), f"{names[index]} {score:.2f}", fill=colour(int(index)))
    return image


def draw_mask(image: Image.Image, classes: NDArray[np.integer]) -> Image.Image:
    """``image`` half covered by the colours of ``classes`` [h, w], which is enlarged to its size by repetition."""
    from PIL import Image

    palette = np.array([colour(index) for index in range(int(classes.max()) + 1)], np.uint8)
    mask = Image.fromarray(palette[classes]).resize(image.size, Image.Resampling.NEAREST)
    return Image.blend(image, mask, 0.5)
