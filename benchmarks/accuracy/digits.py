"""Canvases of handwritten digits with a question that needs the whole canvas, and a classifier small enough to learn it
in minutes.

On each canvas stand four digits of scikit-learn's collection, two of them of one value, in different hands and colours,
the other two of two other values. The class is the value that stands there twice: no part of a canvas tells it, places
that are far apart have to be related. The network is the paper's with the same blocks and head, only narrower and
shallower. Importing this file registers it as ``digits-pair``.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Iterator, Literal

import numpy as np
from numpy.typing import NDArray

from evit_mobile.models.registry import register_model
from evit_mobile.specs import WHOLE_IMAGE, Resolution
from evit_mobile.vision.images import normalise

if TYPE_CHECKING:
    from torch import nn

Split = Literal["train", "test"]
SIDE, CELL = 64, 21
#: The first two are of one value.
DIGITS_ON_A_CANVAS = 4
#: Of the 1,797 digits these many, chosen at random, are seen only in the test.
HELD_OUT = 500
TEST_CANVASES = 2000
#: Seeds from here on are of canvases that are neither trained nor tested on: for calibration, drawn with training
#: digits.
CALIBRATION_SEEDS = 5_000_000


@dataclass(frozen=True)
class Canvas:
    """``pixels`` [SIDE, SIDE, 3] uint8, RGB; ``label`` is the value that stands there twice."""

    pixels: NDArray[np.uint8]
    label: int


@functools.cache
def digits_of(split: Split) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Digits [K, 8, 8] in [0, 1] and their values [K]; the two splits share none."""
    from sklearn.datasets import load_digits

    images, values = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(images))
    chosen = order[:HELD_OUT] if split == "test" else order[HELD_OUT:]
    return (images[chosen].reshape(-1, 8, 8) / 16).astype(np.float32), values[chosen].astype(np.int64)


def draw(seed: int, split: Split, digits: int = DIGITS_ON_A_CANVAS) -> Canvas:
    """One canvas, the same for the same seed: ``digits`` digits of the split, all values equally likely. One is its own
    answer.
    """
    rng = np.random.default_rng([seed, split == "test"])
    images, values = digits_of(split)
    canvas = (rng.uniform(10, 50, 3) + rng.normal(0, 8, (SIDE, SIDE, 3))).astype(np.float32)
    cells = rng.permutation((SIDE // CELL) ** 2)[:digits]
    shown = rng.permutation(10)
    shown = np.concatenate([shown[:1], shown])[:digits]
    for cell, value in zip(cells, shown):
        digit = images[rng.choice(np.flatnonzero(values == value))]
        _put(canvas, int(cell), _stretched(digit, rng), rng.uniform(110, 255, 3), rng)
    return Canvas(canvas.clip(0, 255).round().astype(np.uint8), int(shown[0]))


def _stretched(digit: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """[8, 8] -> [20, 20], enlarged, a little turned, scaled and sheared: coverage in [0, 1]."""
    from PIL import Image

    angle, shear = rng.uniform(-0.12, 0.12), rng.uniform(-0.1, 0.1)
    across, down = rng.uniform(0.9, 1.1, 2) * 2.4
    turn = np.array([[np.cos(angle), -np.sin(angle) + shear], [np.sin(angle), np.cos(angle)]]) / [[across], [down]]
    offset = 4 - turn @ [10, 10]
    coefficients = (turn[0, 0], turn[0, 1], offset[0], turn[1, 0], turn[1, 1], offset[1])
    enlarged = Image.fromarray(digit).transform(
        (20, 20), Image.Transform.AFFINE, coefficients, Image.Resampling.BILINEAR
    )
    return np.asarray(enlarged, np.float32)


def _put(
    canvas: NDArray[np.float32],
    cell: int,
    coverage: NDArray[np.float32],
    colour: NDArray[np.float64],
    rng: np.random.Generator,
) -> None:
    """Paint ``coverage`` [h, w] in ``colour`` at a random place of the cell."""
    height, width = coverage.shape
    row, column = divmod(cell, SIDE // CELL)
    y, x = row * CELL + rng.integers(0, CELL - height + 1), column * CELL + rng.integers(0, CELL - width + 1)
    part = canvas[y : y + height, x : x + width]
    part += coverage[..., np.newaxis] * (colour.astype(np.float32) - part)


def inputs(canvases: list[Canvas]) -> NDArray[np.float32]:
    """[B, SIDE, SIDE, 3], NHWC, normalised as the model wants."""
    return normalise(np.stack([canvas.pixels for canvas in canvases]).astype(np.float32) / np.float32(255), WHOLE_IMAGE)


def test_canvases(count: int = TEST_CANVASES) -> Iterator[Canvas]:
    """The first ``count`` canvases of the test split."""
    return (draw(seed, "test") for seed in range(count))


def calibration(count: int = 128) -> Iterator[NDArray[np.float32]]:
    """Model inputs [1, SIDE, SIDE, 3] for calibration, drawn with training digits."""
    for seed in range(CALIBRATION_SEEDS, CALIBRATION_SEEDS + count):
        yield inputs([draw(seed, "train")])


@register_model("digits-pair", task="classification", resolution=SIDE, outputs=("logits",), preprocessing=WHOLE_IMAGE)
def classifier(resolution: Resolution, variants: frozenset[str]) -> nn.Module:
    """A narrow EfficientViT of ten classes."""
    from evit_mobile.models.efficientvit import EfficientViTClassifier, EfficientViTConfig

    config = EfficientViTConfig(
        8, (16, 24, 48, 64), (1, 1, 2, 1), heads=(6, 8), head_dim=8, head_widths=(96, 128), classes=10
    )
    return EfficientViTClassifier(config)
