"""Images from files to model inputs, and places in a model's input back to places in the image."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from evit_mobile.arrays import Float32Array
from evit_mobile.errors import RequestError
from evit_mobile.specs import Preprocessing, Resolution

if TYPE_CHECKING:
    from PIL import Image

#: What Pillow raises on a picture that is cut short or damaged, by format.
_DAMAGED = (OSError, ValueError, SyntaxError, EOFError, IndexError, struct.error, zlib.error)
#: What surrounds an image that does not fill the input, of 255: YOLOX's grey.
GREY = 114


@dataclass(frozen=True)
class Placement:
    """Where an image lies in a model's input, in pixels: scaled to ``width`` x ``height``, its corner at (``left``,
    ``top``).

    The corner is negative where the image is cropped.
    """

    width: int
    height: int
    left: int
    top: int
    image_width: int
    image_height: int

    def boxes_in_image(self, boxes: Float32Array) -> Float32Array:
        """Boxes [K, 4] (x0, y0, x1, y1) in pixels of the input -> the same in pixels of the image, held inside it."""
        scale = np.array([self.image_width / self.width, self.image_height / self.height] * 2, np.float32)
        moved = (boxes - np.array([self.left, self.top] * 2, np.float32)) * scale
        inside: Float32Array = np.clip(moved, 0, np.array([self.image_width, self.image_height] * 2, np.float32))
        return inside


def load_image(path: Path, resolution: Resolution, preprocessing: Preprocessing) -> Float32Array:
    """An image file as a model's input: [1, H, W, 3] float32, NHWC, RGB, normalised; see ``open_image`` and
    ``to_input``.

    Raises:
        RequestError: the file is absent, or not an image that Pillow can read.
    """
    return to_input(open_image(path), resolution, preprocessing)[0]


def load_pixels(path: Path, resolution: Resolution, preprocessing: Preprocessing) -> tuple[NDArray[np.uint8], str]:
    """An image file at a model's resolution, [H, W, 3] uint8 RGB, and the mode in which Pillow found it (``RGB``,
    ``L``, ``CMYK``, …).

    Raises:
        RequestError: the file is absent, or not an image that Pillow can read.
    """
    image, mode = _open(path)
    return _fit(image, resolution, preprocessing)[0], mode


def open_image(path: Path) -> Image.Image:
    """The RGB image in a file, turned upright by its EXIF tag. Transparency is ignored, as torchvision's loader does.

    Raises:
        RequestError: the file is absent, or not an image that Pillow can read.
    """
    return _open(path)[0]


def _open(path: Path) -> tuple[Image.Image, str]:
    """The RGB image, and the mode in which Pillow found it."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(path) as file:
            mode, transparent = file.mode, "transparency" in file.info
            return _rgb(ImageOps.exif_transpose(file)), f"{mode}A" if transparent and not mode.endswith("A") else mode
    except UnidentifiedImageError as error:
        raise RequestError(
            f"{path} is not an image", hint="expected a JPEG, PNG or another format that Pillow reads"
        ) from error
    except (*_DAMAGED, Image.DecompressionBombError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise RequestError(f"image {path} cannot be read: {reason}") from error


def _rgb(image: Image.Image) -> Image.Image:
    """An image of any mode as RGB; 16-bit grey is scaled, where Pillow itself would cut it off at 255."""
    from PIL import Image

    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    elif image.mode in ("I", "F"):
        raise ValueError(f"pictures of mode {image.mode} have no fixed range")
    return image.convert("RGB")


def to_input(
    image: Image.Image, resolution: Resolution, preprocessing: Preprocessing
) -> tuple[Float32Array, Placement]:
    """An RGB image as a model's input [1, H, W, 3], and where it lies in it."""
    pixels, placement = _fit(image, resolution, preprocessing)
    return normalise(pixels[np.newaxis].astype(np.float32) / np.float32(255), preprocessing), placement


def _fit(
    image: Image.Image, resolution: Resolution, preprocessing: Preprocessing
) -> tuple[NDArray[np.uint8], Placement]:
    """An RGB image at a model's resolution, [H, W, 3]; what it does not cover is grey."""
    from PIL import Image

    placement = place(image.size, resolution, preprocessing)
    scaled = image.resize((placement.width, placement.height), Image.Resampling[preprocessing.interpolation.upper()])
    whole = Image.new("RGB", (resolution.width, resolution.height), (GREY, GREY, GREY))
    whole.paste(scaled, (placement.left, placement.top))
    return np.asarray(whole), placement


def normalise(pixels: Float32Array, preprocessing: Preprocessing) -> Float32Array:
    """[..., 3] RGB in [0, 1] -> the same, minus ``mean``, divided by ``std``."""
    normalised = (pixels - np.array(preprocessing.mean, np.float32)) / np.array(preprocessing.std, np.float32)
    return normalised.astype(np.float32)


def place(size: tuple[int, int], resolution: Resolution, preprocessing: Preprocessing) -> Placement:
    """Where an image of ``size`` (width, height) goes, see ``Preprocessing.fit``.

    Cropped, for square inputs, this is what torchvision's ``Resize(side / crop_fraction)`` and ``CenterCrop(side)`` do;
    padded, YOLOX's ``preproc``. Sides are truncated, as all of these do.
    """
    width, height = size
    if preprocessing.fit == "pad":
        if resolution.width * height <= resolution.height * width:
            return Placement(resolution.width, max(1, height * resolution.width // width), 0, 0, width, height)
        return Placement(max(1, width * resolution.height // height), resolution.height, 0, 0, width, height)
    cover_height = int(resolution.height / preprocessing.crop_fraction)
    cover_width = int(resolution.width / preprocessing.crop_fraction)
    if cover_height * width >= cover_width * height:
        scaled = (max(resolution.width, int(cover_height * width / height)), cover_height)
    else:
        scaled = (cover_width, max(resolution.height, int(cover_width * height / width)))
    left, top = round((scaled[0] - resolution.width) / 2), round((scaled[1] - resolution.height) / 2)
    return Placement(*scaled, -left, -top, width, height)
