"""``evit-mobile run``: a trained detector and a trained segmenter find what was drawn, through the .tflite."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from benchmarks.accuracy import shapes
from evit_mobile.cli.run import command
from evit_mobile.errors import RequestError
from evit_mobile.vision.boxes import overlap
from evit_mobile.vision.drawing import colour

DATA = Path(__file__).resolve().parent.parent / "data"
#: The training drawings are 0 to 999,999.
HELD_OUT = range(2_000_000, 2_000_008)


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    path = tmp_path / "labels.txt"
    path.write_text("\n".join(shapes.CLASSES))
    return path


def _run(*arguments: object) -> list[dict[str, object]]:
    done = CliRunner().invoke(command, [*map(str, arguments), "--json"], catch_exceptions=False)
    result: list[dict[str, object]] = json.loads(done.stdout)["result"]
    return result


def test_boxes_are_where_shapes_were_drawn(converted: Callable[..., Path], labels: Path, tmp_path: Path) -> None:
    """Every shape is found and named, nothing else is, and boxes overlap by 0.7 or more on average (measured: 0.93)."""
    model = converted("shapes-det")
    ious = []
    for seed in HELD_OUT:
        drawing = shapes.draw(seed)
        drawing.image.save(tmp_path / "drawing.png")
        result = _run(model, "--image", tmp_path / "drawing.png", "--labels", labels)
        assert len(result) == len(drawing.boxes)
        boxes = np.array([item["box"] for item in result], np.float32)
        for box, kind in zip(drawing.boxes, drawing.classes):
            overlaps = overlap(box, boxes)
            ious.append(overlaps.max())
            assert result[int(overlaps.argmax())]["name"] == shapes.CLASSES[kind]
    assert np.mean(ious) >= 0.7


def test_masks_are_what_was_drawn(converted: Callable[..., Path], tmp_path: Path) -> None:
    """Mean intersection over union of the four classes, read from the PNG's colours, is 0.7 or more (measured:
    0.94).
    """
    model = converted("shapes-seg", weights=DATA / "shapes-seg.safetensors")
    common, union = np.zeros(4), np.zeros(4)
    for seed in HELD_OUT:
        drawing = shapes.draw(seed)
        drawing.image.save(tmp_path / "drawing.png")
        answer = _run(model, "--image", tmp_path / "drawing.png", "--out", tmp_path / "mask.png", "--force")
        assert sum(float(str(item["share"])) for item in answer) == pytest.approx(1)
        # The picture is half the drawing, half the class's colour.
        painted = 2 * np.asarray(Image.open(tmp_path / "mask.png"), np.float32) - np.asarray(drawing.image, np.float32)
        palette = np.array([colour(index) for index in range(4)], np.float32)
        classes = np.abs(painted[:, :, np.newaxis] - palette).sum(-1).argmin(-1)
        for index in range(4):
            ours, theirs = classes == index, drawing.mask == index
            common[index] += (ours & theirs).sum()
            union[index] += (ours | theirs).sum()
    assert (common / union).mean() >= 0.7


def test_five_names(small_tflite: Path, tmp_path: Path) -> None:
    Image.new("RGB", (50, 40), "teal").save(tmp_path / "teal.png")
    best = _run(small_tflite, "--image", tmp_path / "teal.png")
    assert len(best) == 5 and len({item["name"] for item in best}) == 5
    likely = [float(str(item["probability"])) for item in best]
    assert likely == sorted(likely, reverse=True) and 0 < sum(likely) <= 1 + 1e-6


def test_labels_of_another_number(small_tflite: Path, labels: Path, tmp_path: Path) -> None:
    Image.new("RGB", (50, 40)).save(tmp_path / "black.png")
    with pytest.raises(RequestError, match="--labels has 3 names, the model 1000 classes"):
        _run(small_tflite, "--image", tmp_path / "black.png", "--labels", labels)


def test_no_such_image(small_tflite: Path, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"none\.jpg"):
        _run(small_tflite, "--image", tmp_path / "none.jpg")
