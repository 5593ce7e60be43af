"""The detector whose weights come with the package: converted, verified and run without being given anything."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from safetensors.torch import save_model

from benchmarks.accuracy import shapes as drawings
from converters.options import ConvertOptions
from converters.parity.reference import SourceRequest
from converters.parity.verify import verify_model
from converters.pipeline import with_bundled_weights
from evit_mobile.cli.run import command
from evit_mobile.errors import RequestError
from evit_mobile.models import find_model, shapes, trained_of
from evit_mobile.tflite.description import read_description
from evit_mobile.vision.boxes import overlap
from evit_mobile.weights import sha256_of

#: The drawing that is bundled, and how much it is enlarged.
SEED, SCALE = 2_000_001, 4


@pytest.fixture
def detector(converted: Callable[..., Path]) -> Path:
    return converted("shapes-det")


def test_the_file_says_that_its_weights_are_trained(detector: Path) -> None:
    description, trained = read_description(detector), trained_of("shapes-det")
    assert description is not None and trained is not None
    assert description.has_trained_weights
    assert description.weights_sha256 == sha256_of(trained.weights)


def test_it_is_verified_without_being_given_its_weights(detector: Path) -> None:
    assert verify_model(detector, SourceRequest()).passed


def test_other_weights_are_refused_by_their_hash(detector: Path, tmp_path: Path) -> None:
    save_model(find_model("shapes-det").build(), str(tmp_path / "other.safetensors"))
    with pytest.raises(RequestError, match="was not made with .*other.safetensors"):
        verify_model(detector, SourceRequest(weights=tmp_path / "other.safetensors"))


def test_weights_that_are_given_come_first(tmp_path: Path) -> None:
    options = ConvertOptions(weights=tmp_path / "mine.safetensors")
    assert with_bundled_weights("shapes-det", options) == options
    assert with_bundled_weights("base-r224", ConvertOptions()).weights is None


def test_the_bundled_drawing_is_the_one_that_it_says() -> None:
    drawing = drawings.draw(SEED).image
    enlarged = drawing.resize((SCALE * drawing.width, SCALE * drawing.height), Image.Resampling.NEAREST)
    with Image.open(shapes.DRAWING) as bundled:
        np.testing.assert_array_equal(np.asarray(bundled), np.asarray(enlarged))


def test_it_finds_what_is_on_the_drawing(detector: Path) -> None:
    """Every shape once, by its name, and nothing else; each box overlaps the drawn one by 0.85 (measured: 0.92 and
    more).
    """
    done = CliRunner().invoke(
        command, [str(detector), "--image", str(shapes.DRAWING), "--json"], catch_exceptions=False
    )
    boxes = {item["name"]: item["box"] for item in json.loads(done.stdout)["result"]}
    drawing = drawings.draw(SEED)
    assert sorted(boxes) == sorted(shapes.CLASSES)
    assert len(drawing.boxes) == len(boxes)
    for box, kind in zip(drawing.boxes, drawing.classes):
        (ratio,) = overlap(SCALE * box, np.array([boxes[shapes.CLASSES[kind]]], np.float32))
        assert ratio >= 0.85
