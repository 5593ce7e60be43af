"""What a model is verified on: noise, constants, extremes and a photograph."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from evit_mobile.arrays import Float32Array
from evit_mobile.specs import Preprocessing, Resolution
from evit_mobile.vision.images import load_image, normalise


@dataclass(frozen=True)
class Stimulus:
    """A named input: ``image`` is [1, H, W, C] float32, NHWC."""

    name: str
    image: Float32Array


def verification_stimuli(
    resolution: Resolution, channels: int, preprocessing: Preprocessing, *, image: Path | None = None, seed: int = 0
) -> list[Stimulus]:
    """The inputs of ``verify``; the first is seeded noise.

    * ``noise``: standard normal.
    * ``zeros``, ``ones``: constant; every position is alike, so layer normalisation and attention see degenerate
      statistics.
    * ``black``, ``white``: the normalised images of 0 and 255, the largest values that a picture can give.
    * ``hot_pixel``: black but for one pixel of 255: everything that spreads, spreads from a known place.
    * ``photograph``: ``image``, or a portrait that matplotlib bundles, preprocessed as the model wants.

    A model whose input has not 3 channels takes no pictures: it gets the first three.

    Raises:
        RequestError: ``image`` is no image.
    """
    shape = (1, resolution.height, resolution.width, channels)
    noise = np.random.default_rng(seed).standard_normal(shape, np.float32)
    stimuli = [
        Stimulus("noise", noise),
        Stimulus("zeros", np.zeros(shape, np.float32)),
        Stimulus("ones", np.ones(shape, np.float32)),
    ]
    if channels != 3:
        return stimuli
    black, white = (np.full(shape, value, np.float32) for value in (0, 1))
    hot = black.copy()
    hot[0, resolution.height // 2, resolution.width // 2] = 1
    stimuli += [
        Stimulus(name, normalise(pixels, preprocessing))
        for name, pixels in (("black", black), ("white", white), ("hot_pixel", hot))
    ]
    return [*stimuli, Stimulus("photograph", load_image(image or bundled_photograph(), resolution, preprocessing))]


def bundled_photograph() -> Path:
    """A portrait of Grace Hopper (public domain) that matplotlib installs with its sample data."""
    from matplotlib import cbook

    return Path(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False))
