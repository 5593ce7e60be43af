"""Canvases of handwritten digits on which one question needs the whole canvas, and a classifier small enough to learn it in minutes.

On each canvas stand two digits of scikit-learn's collection in different colours, and a filled square in the colour of one of them.
The class is the value of that digit: square and digit may stand in opposite corners, so a network has to relate places that are far
apart. The network is the paper's with the same blocks and head, only narrower and shallower. Importing this file registers it as
``digits-recall``.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Iterator, Literal

import numpy as np
from numpy.typing import NDArray

from evit_mobile.images import normalise
from evit_mobile.models.registry import WHOLE_IMAGE, register_model
from evit_mobile.specs import Resolution

if TYPE_CHECKING:
    from torch import nn

Split = Literal["train", "test"]
SIDE, CELL = 64, 21
DIGITS_ON_A_CANVAS = 2
#: RGB: a red, a green and a blue.
COLOURS = np.array([(235, 50, 50), (50, 225, 50), (60, 60, 245)], np.float32)
#: Of the 1,797 digits these many, chosen at random, are seen only in the test.
HELD_OUT = 500
TEST_CANVASES = 2000
#: Seeds from here on are of canvases that are neither trained nor tested on: for calibration, drawn with training digits.
CALIBRATION_SEEDS = 5_000_000


@dataclass(frozen=True)
class Canvas:
    """``pixels`` [SIDE, SIDE, 3] uint8, RGB; ``label`` is the value of the digit that the square asks for."""

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
    """One canvas, the same for the same seed. Each of the ``digits`` is any of the split's, all equally likely."""
    rng = np.random.default_rng([seed, split == "test"])
    images, values = digits_of(split)
    canvas = (rng.uniform(10, 50, 3) + rng.normal(0, 8, (SIDE, SIDE, 3))).astype(np.float32)
    cells = rng.permutation((SIDE // CELL) ** 2)[: digits + 1]
    colours = (COLOURS + rng.normal(0, 8, COLOURS.shape))[rng.permutation(len(COLOURS))]
    chosen = rng.integers(0, len(images), digits)
    for cell, colour, digit in zip(cells, colours, chosen):
        _put(canvas, int(cell), _stretched(images[digit], rng), colour, rng)
    # The square takes the first digit's colour.
    _put(canvas, int(cells[-1]), np.ones((14, 14), np.float32), colours[0], rng)
    return Canvas(canvas.clip(0, 255).round().astype(np.uint8), int(values[chosen[0]]))


def _stretched(digit: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """[8, 8] -> [20, 20], enlarged, a little turned, scaled and sheared: coverage in [0, 1]."""
    from PIL import Image

    angle, shear = rng.uniform(-0.12, 0.12), rng.uniform(-0.1, 0.1)
    across, down = rng.uniform(0.9, 1.1, 2) * 2.4
    turn = np.array([[np.cos(angle), -np.sin(angle) + shear], [np.sin(angle), np.cos(angle)]]) / [[across], [down]]
    offset = 4 - turn @ [10, 10]
    coefficients = (turn[0, 0], turn[0, 1], offset[0], turn[1, 0], turn[1, 1], offset[1])
    enlarged = Image.fromarray(digit).transform((20, 20), Image.Transform.AFFINE, coefficients, Image.Resampling.BILINEAR)
    return np.asarray(enlarged, np.float32)


def _put(
    canvas: NDArray[np.float32], cell: int, coverage: NDArray[np.float32], colour: NDArray[np.float64], rng: np.random.Generator
) -> None:
    """Paint ``coverage`` [h, w] in ``colour`` at a random place of the cell."""
    height, width = coverage.shape
    row, column = divmod(cell, SIDE // CELL)
    y, x = row * CELL + rng.integers(0, CELL - height + 1), column * CELL + rng.integers(0, CELL - width + 1)
    part = canvas[y : y + height, x : x + width]
    part += coverage[..., np.newaxis] * (colour.astype(np.float32) - part)


def inputs(canvases: list[Canvas]) -> NDArray[np.float32]:
    """[B, SIDE, SIDE, 3], NHWC, normalised as the model wants."""
    return normalise(np.stack([canvas.pixels for canvas in canvases]).astype(np.float32) / 255, WHOLE_IMAGE)


def test_canvases(count: int = TEST_CANVASES) -> Iterator[Canvas]:
    """The first ``count`` canvases of the test split."""
    return (draw(seed, "test") for seed in range(count))


def calibration(count: int = 128) -> Iterator[NDArray[np.float32]]:
    """Model inputs [1, SIDE, SIDE, 3] for calibration, drawn with training digits."""
    for seed in range(CALIBRATION_SEEDS, CALIBRATION_SEEDS + count):
        yield inputs([draw(seed, "train")])


@register_model("digits-recall", task="classification", resolution=SIDE, outputs=("logits",), preprocessing=WHOLE_IMAGE)
def classifier(resolution: Resolution, variants: frozenset[str]) -> nn.Module:
    """A narrow EfficientViT of ten classes."""
    from evit_mobile.models.efficientvit import EfficientViTClassifier, EfficientViTConfig

    config = EfficientViTConfig(8, (16, 24, 48, 64), (1, 1, 2, 1), heads=(6, 8), head_dim=8, head_widths=(96, 128), classes=10)
    return EfficientViTClassifier(config)
