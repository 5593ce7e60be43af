"""Photographs for calibration and comparison: crops of the three that matplotlib and scikit-learn install with their
samples.

Crops for calibration come from the left half of each photograph, those that models are compared on from the right.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from converters.parity.stimuli import bundled_photograph
from evit_mobile.specs import Preprocessing
from evit_mobile.vision.images import normalise

#: Share of a photograph's shorter side that a crop takes, and by how much its light is changed.
SIZES, LIGHT = (0.35, 1.0), (0.7, 1.3)


def crops(
    side: int, count: int, *, held_out: bool, preprocessing: Preprocessing | None = None
) -> Iterator[NDArray[np.float32]]:
    """``count`` model inputs [1, side, side, 3]: random squares, mirrored or not, lighter or darker; always the same
    ones.
    """
    from PIL import Image
    from sklearn.datasets import load_sample_images

    photographs = [Image.fromarray(pixels) for pixels in load_sample_images().images]
    photographs.append(Image.open(bundled_photograph()).convert("RGB"))
    rng = np.random.default_rng(held_out)
    for number in range(count):
        photograph = photographs[number % len(photographs)]
        middle = photograph.width // 2
        half = photograph.crop(
            (middle if held_out else 0, 0, photograph.width if held_out else middle, photograph.height)
        )
        size = int(min(half.size) * rng.uniform(*SIZES))
        left, top = int(rng.integers(0, half.width - size + 1)), int(rng.integers(0, half.height - size + 1))
        square = half.crop((left, top, left + size, top + size)).resize((side, side), Image.Resampling.BICUBIC)
        pixels = np.asarray(square, np.float32)[:, :: -1 if rng.random() < 0.5 else 1] / 255
        yield normalise(
            (pixels * np.float32(rng.uniform(*LIGHT))).clip(0, 1)[np.newaxis], preprocessing or Preprocessing()
        )


def calibration_224() -> Iterator[NDArray[np.float32]]:
    """128 inputs for calibration at 224x224: ``--calibration benchmarks.photos:calibration_224``."""
    return crops(224, 128, held_out=False)


def calibration_512() -> Iterator[NDArray[np.float32]]:
    """128 inputs for calibration at 512x512."""
    return crops(512, 128, held_out=False)
