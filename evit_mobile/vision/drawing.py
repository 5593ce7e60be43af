"""Boxes and masks drawn onto an image."""

from __future__ import annotations

import colorsys
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from evit_mobile.vision.boxes import Detections

if TYPE_CHECKING:
    from PIL import Image


def colour(index: int) -> tuple[int, int, int]:
    """A colour for class ``index``; neighbours are far apart on the circle of hues."""
    red, green, blue = colorsys.hsv_to_rgb(index * 0.381966 % 1, 0.85, 1.0)
    return int(255 * red), int(255 * green), int(255 * blue)


def draw_boxes(image: Image.Image, detections: Detections, names: list[str]) -> Image.Image:
    """A copy of ``image`` with each box framed and named, the best on top."""
    from PIL import ImageDraw

    image = image.copy()
    canvas = ImageDraw.Draw(image)
    line, size = max(2, max(image.size) // 320), max(11, max(image.size) // 50)
    for box, score, index in list(zip(detections.boxes, detections.scores, detections.classes))[::-1]:
        x0, y0, x1, y1 = (float(value) for value in box)
        paint, text = colour(int(index)), f"{names[index]} {score:.2f}"
        canvas.rectangle((x0, y0, max(x0, x1), max(y0, y1)), outline=paint, width=line)
        # Above the box where there is room, on a ground of its own: the text is then readable on any picture.
        at = (x0, y0 - size - 3 if y0 >= size + 3 else y0)
        canvas.rectangle(canvas.textbbox(at, text, font_size=size), fill=paint)
        canvas.text(at, text, fill="black", font_size=size)
    return image


def draw_mask(image: Image.Image, classes: NDArray[np.integer]) -> Image.Image:
    """``image`` half covered by the colours of ``classes`` [H, W], of its own size; negative ones leave it as it is."""
    from PIL import Image

    palette = np.array([colour(index) for index in range(max(0, int(classes.max())) + 1)], np.uint8)
    covered = Image.blend(image, Image.fromarray(palette[classes.clip(min=0)]), 0.5)
    return Image.composite(covered, image, Image.fromarray(classes >= 0))
