"""Images from files to model inputs."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evit_mobile.errors import RequestError
from evit_mobile.specs import Preprocessing, Resolution

Array = NDArray[np.float32]

#: What Pillow raises on a picture that is cut short or damaged, by format.
_DAMAGED = (OSError, ValueError, SyntaxError, EOFError, IndexError, struct.error, zlib.error)


def load_image(path: Path, resolution: Resolution, preprocessing: Preprocessing) -> Array:
    """An image file as a model's input: [1, H, W, 3] float32, NHWC, RGB, normalised; see ``load_pixels``.

    Raises:
        RequestError: the file is absent, or not an image that Pillow can read.
    """
    pixels, _ = load_pixels(path, resolution, preprocessing)
    return normalise(pixels[np.newaxis].astype(np.float32) / np.float32(255), preprocessing)


def load_pixels(path: Path, resolution: Resolution, preprocessing: Preprocessing) -> tuple[NDArray[np.uint8], str]:
    """An image file at a model's resolution, [H, W, 3] uint8 RGB, and the mode in which Pillow found it (``RGB``, ``L``, ``CMYK``, …).

    The image is turned upright by its EXIF tag, scaled (keeping its proportions) until it covers ``resolution / crop_fraction``, and
    cropped at its centre: for square sizes what torchvision's ``Resize(side / crop_fraction)`` and ``CenterCrop(side)`` do. Transparency
    is ignored, as torchvision's loader does.

    Raises:
        RequestError: the file is absent, or not an image that Pillow can read.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(path) as file:
            mode, transparent = file.mode, "transparency" in file.info
            image = _rgb(ImageOps.exif_transpose(file))
    except UnidentifiedImageError as error:
        raise RequestError(f"{path} is not an image", hint="expected a JPEG, PNG or another format that Pillow reads") from error
    except (*_DAMAGED, Image.DecompressionBombError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise RequestError(f"image {path} cannot be read: {reason}") from error
    pixels: NDArray[np.uint8] = np.asarray(_fit(image, resolution, preprocessing))
    return pixels, f"{mode}A" if transparent and not mode.endswith("A") else mode


def _rgb(image: Any) -> Any:
    """A Pillow image of any mode as RGB; 16-bit grey is scaled, where Pillow itself would cut it off at 255."""
    from PIL import Image

    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    elif image.mode in ("I", "F"):
        raise ValueError(f"pictures of mode {image.mode} have no fixed range")
    return image.convert("RGB")


def normalise(pixels: Array, preprocessing: Preprocessing) -> Array:
    """[..., 3] RGB in [0, 1] -> the same, minus ``mean``, divided by ``std``."""
    normalised = (pixels - np.array(preprocessing.mean, np.float32)) / np.array(preprocessing.std, np.float32)
    return normalised.astype(np.float32)


def _fit(image: Any, resolution: Resolution, preprocessing: Preprocessing) -> Any:
    """Scale and centre-crop a Pillow image to exactly ``resolution``."""
    from PIL import Image

    # Sides are truncated, as torchvision and timm do.
    cover_height = int(resolution.height / preprocessing.crop_fraction)
    cover_width = int(resolution.width / preprocessing.crop_fraction)
    if cover_height * image.width >= cover_width * image.height:
        size = (max(resolution.width, int(cover_height * image.width / image.height)), cover_height)
    else:
        size = (cover_width, max(resolution.height, int(cover_width * image.height / image.width)))
    image = image.resize(size, Image.Resampling[preprocessing.interpolation.upper()])
    left, top = round((image.width - resolution.width) / 2), round((image.height - resolution.height) / 2)
    return image.crop((left, top, left + resolution.width, top + resolution.height))
