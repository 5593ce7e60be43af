"""MediaPipe Tasks, the published wheel in an environment of its own, opens our files and says what ``run`` says of the
same pixels.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmarks.accuracy import shapes
from converters.parity.differences import CRITERIA, compare
from converters.parity.stimuli import bundled_photograph
from evit_mobile.models.labels import class_names
from evit_mobile.specs import Activation, Ends, Pixels, Precision, Resolution
from evit_mobile.vision.images import load_pixels
from evit_mobile.vision.inference import mask_in, open_model
from evit_mobile.vision.purpose import purpose_of
from tests.conftest import ROOT, SMALL_MODEL, SMALL_RESOLUTION
from tests.kits.environments import ToolEnvironment

DRAWING = ROOT / "evit_mobile" / "models" / "shapes" / "drawing.png"
ASK = Path(__file__).with_name("ask.py")
SOFTMAX_OF_UNIT, SOFTMAX_OF_BYTES = (Ends(pixels, Activation.SOFTMAX) for pixels in (Pixels.UNIT, Pixels.UINT8))

Ask = Callable[[str, Path, Path], dict[str, Any]]


@pytest.fixture(scope="session")
def ask(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Ask:
    """``ask(task, file, picture)`` is what MediaPipe says, by name."""
    lock = ASK.with_name("mediapipe.txt")
    environment = ToolEnvironment("mediapipe", "mediapipe", "1.2.3", "mediapipe", lock_file=lock)
    environment.have()

    def asked(task: str, file: Path, picture: Path) -> dict[str, Any]:
        out = tmp_path_factory.mktemp("mediapipe") / "answer.npz"
        command = [str(environment.interpreter), "-I", str(ASK), task, str(file), str(picture), str(out)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=250)
        assert done.returncode == 0, done.stderr[-2000:]
        with np.load(out) as answer:
            return dict(answer)

    return asked


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for seed in range(15):
        shapes.draw(seed).image.save(folder / f"{seed}.png")
    Image.open(bundled_photograph()).save(folder / "portrait.png")
    return folder


def _at_its_size(file: Path, folder: Path, photograph: Path | None = None) -> Path:
    """A photograph as ``run`` fits it to the input, for both: they fit pictures in ways of their own."""
    purpose = purpose_of(file)
    pixels, _ = load_pixels(photograph or bundled_photograph(), purpose.resolution, purpose.preprocessing)
    Image.fromarray(pixels).save(folder / "picture.png")
    return folder / "picture.png"


def _outputs(file: Path, picture: Path) -> dict[str, Any]:
    """What ``run`` reads its answer from; a picture of the input's size over the crop, whose middle is the picture."""
    with open_model(file, purpose_of(file)) as model:
        pixels = np.asarray(Image.open(picture))
        fed = pixels[np.newaxis].astype(np.float32)
        fed = fed if model.session.inputs[0].dtype == "uint8" else fed / np.float32(255)
        (info,) = model.session.inputs
        values = model.session.run([info.quantise(fed)])
        return {
            name: output.dequantise(value)
            for name, output, value in zip(model.session.output_names(), model.session.outputs, values)
        }


@pytest.mark.parametrize(
    ("network", "side", "precision", "ends"),
    [
        ("base-r224", 224, Precision.FP32, SOFTMAX_OF_UNIT),
        (SMALL_MODEL, SMALL_RESOLUTION, Precision.FP16, SOFTMAX_OF_UNIT),
        (SMALL_MODEL, SMALL_RESOLUTION, Precision.INT8, SOFTMAX_OF_UNIT),
        (SMALL_MODEL, SMALL_RESOLUTION, Precision.INT8, SOFTMAX_OF_BYTES),
        ("timm:efficientvit_b0", 224, Precision.FP32, SOFTMAX_OF_BYTES),
    ],
)
def test_classifies(
    ask: Ask,
    converted: Callable[..., Path],
    photos: Path,
    tmp_path: Path,
    network: str,
    side: int,
    precision: Precision,
    ends: Ends,
) -> None:
    calibration = str(photos) if precision is Precision.INT8 else None
    size = Resolution(side, side)
    file = converted(network, resolution=size, precision=precision, ends=ends, calibration=calibration)
    picture = _at_its_size(file, tmp_path)
    (expected,) = _outputs(file, picture).values()
    answer = ask("classification", file, picture)
    difference = compare(expected, answer["scores"][np.newaxis].astype(np.float32))
    assert CRITERIA[precision].holds(difference), difference
    assert list(answer["names"]) == class_names("classification", 1000)


def test_segments(ask: Ask, converted: Callable[..., Path], tmp_path: Path) -> None:
    """Masks of the size of the input. MediaPipe enlarges smaller ones in two ways: by the centres of pixels for its
    confidences, as ``run`` does, and by the corners of the mask for its categories.
    """
    size = Resolution(256, 512)
    file = converted("seg-r1408+upsample", resolution=size, ends=SOFTMAX_OF_UNIT)
    picture = _at_its_size(file, tmp_path)
    answer = ask("segmentation", file, picture)
    with open_model(file, purpose_of(file)) as model:
        outputs, placement = model.run(Image.open(picture))
        mask = mask_in(outputs, placement, model.resolution)
    (scores,) = outputs.values()
    assert CRITERIA[Precision.FP32].holds(compare(scores, answer["scores"]))
    best = np.sort(scores, -1)
    tied = best[..., -1] - best[..., -2] < 2 * CRITERIA[Precision.FP32].bound
    assert ((answer["mask"] == mask) | tied).all() and tied.mean() < 0.01
    assert list(answer["names"]) == class_names("segmentation", 19)


@pytest.mark.parametrize(
    ("network", "precision", "pixels"),
    [
        ("shapes-det", Precision.FP32, Pixels.UNIT),
        ("shapes-det", Precision.INT8, Pixels.UINT8),
    ],
)
def test_detects(
    ask: Ask,
    converted: Callable[..., Path],
    photos: Path,
    tmp_path: Path,
    network: str,
    precision: Precision,
    pixels: Pixels,
) -> None:
    """Boxes of ``run`` in whole pixels, as MediaPipe gives them: left and top are cut off, width and height rounded."""
    calibration = str(photos) if precision is Precision.INT8 else None
    file = converted(network, precision=precision, ends=Ends(pixels, nms=True), calibration=calibration)
    picture = _at_its_size(file, tmp_path, DRAWING if network == "shapes-det" else bundled_photograph())
    answer = ask("detection", file, picture)
    with open_model(file, purpose_of(file)) as model:
        found = model.boxes_in(*model.run(Image.open(picture)), threshold=0)
        names = model.purpose.names(model.class_count)
    assert len(found.scores) == len(answer["scores"]) == 3
    np.testing.assert_allclose(answer["scores"], found.scores, atol=1e-4)
    distinct = np.abs(np.diff(found.scores, append=0)) > 1e-4  # of equal ones the order is anybody's
    np.testing.assert_allclose(answer["boxes"][distinct], found.boxes[distinct], atol=2)
    assert [answer["names"][index] for index in np.flatnonzero(distinct)] == [
        names[found.classes[index]] for index in np.flatnonzero(distinct)
    ]


def test_opens_the_papers_detector(ask: Ask, converted: Callable[..., Path], tmp_path: Path) -> None:
    """With random weights its boxes reach far beyond the picture, where MediaPipe drops them and joins equal ones: what
    it does give are scores of ``run``.
    """
    file = converted("det-r416", ends=Ends(Pixels.UINT8, nms=True))
    picture = _at_its_size(file, tmp_path)
    answer = ask("detection", file, picture)
    with open_model(file, purpose_of(file)) as model:
        found = model.boxes_in(*model.run(Image.open(picture)), threshold=0)
    assert len(answer["scores"]) >= 1
    nearest = np.abs(answer["scores"][:, np.newaxis] - found.scores[np.newaxis]).min(1)
    assert nearest.max() <= 1e-4 and set(answer["names"]) <= set(class_names("detection", 80))
