"""Preprocessing against torchvision's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torchvision import transforms

from evit_mobile.errors import RequestError
from evit_mobile.specs import Preprocessing, Resolution
from evit_mobile.vision.images import load_image, to_input


@pytest.fixture
def photograph(tmp_path: Path) -> Path:
    """A noisy 301x200 picture."""
    pixels = np.random.default_rng(0).integers(0, 256, (200, 301, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "noise.png")
    return tmp_path / "noise.png"


@pytest.mark.parametrize("side", [64, 96, 224])
def test_square_is_what_torchvision_does(photograph: Path, side: int) -> None:
    preprocessing = Preprocessing()
    oracle = transforms.Compose(
        [
            transforms.Resize(int(side / 0.875), transforms.InterpolationMode.BICUBIC),
            transforms.CenterCrop(side),
            transforms.ToTensor(),
            transforms.Normalize(preprocessing.mean, preprocessing.std),
        ]
    )
    expected = oracle(Image.open(photograph)).numpy().transpose(1, 2, 0)
    # Both round once in each of the same two operations.
    np.testing.assert_allclose(load_image(photograph, Resolution(side, side), preprocessing)[0], expected, atol=1e-6)


@pytest.mark.parametrize("resolution", [Resolution(64, 128), Resolution(128, 64), Resolution(96, 96)])
@pytest.mark.parametrize("size", [(301, 200), (200, 301), (10, 500), (1, 1)])
def test_any_shape_fits(tmp_path: Path, resolution: Resolution, size: tuple[int, int]) -> None:
    Image.new("L", size, 255).save(tmp_path / "white.png")
    image = load_image(tmp_path / "white.png", resolution, Preprocessing(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)))
    assert image.shape == (1, resolution.height, resolution.width, 3) and image.dtype == np.float32
    assert (image == 1).all()  # nothing but the picture is in the crop


def test_turned_upright(tmp_path: Path) -> None:
    """EXIF orientation 6: the camera was held upright, the rows are columns."""
    picture = Image.new("RGB", (64, 64))
    picture.paste((255, 255, 255), (0, 0, 64, 32))
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(tmp_path / "turned.png", exif=exif)
    image = load_image(tmp_path / "turned.png", Resolution(64, 64), Preprocessing(crop_fraction=1.0))
    assert image[0, 32, 60, 0] > 0 > image[0, 32, 4, 0]


def test_what_is_no_image(tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("not a picture")
    for name in ("text.jpg", "absent.jpg", "."):
        with pytest.raises(RequestError):
            load_image(tmp_path / name, Resolution(32, 32), Preprocessing())


def test_padding_shows_all_of_an_image() -> None:
    """A picture of 512x256 in an input of 128x128: the upper half of it, on YOLOX's grey; and boxes go back by the same
    factor of 4.
    """
    picture = Image.new("RGB", (512, 256), "white")
    whole = Preprocessing(mean=(0, 0, 0), std=(1, 1, 1), interpolation="bilinear", fit="pad")
    pixels, placement = to_input(picture, Resolution(128, 128), whole)
    assert (pixels[0, :64] == 1).all() and pixels[0, 64:] == pytest.approx(114 / 255)
    boxes = np.array([[96, 0, 128, 32], [0, 60, 10, 100]], np.float32)
    assert placement.boxes_in_image(boxes).tolist() == [[384, 0, 512, 128], [0, 240, 40, 256]]


def test_boxes_of_a_cropped_image_go_back() -> None:
    """512x256 in 128x128, cropped: scaled by a half, 64 pixels cut off left and right."""
    _, placement = to_input(Image.new("RGB", (512, 256)), Resolution(128, 128), Preprocessing(crop_fraction=1.0))
    assert placement.boxes_in_image(np.array([[0, 0, 128, 128]], np.float32)).tolist() == [[128, 0, 384, 256]]
