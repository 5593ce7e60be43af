"""Calibration data from folders, .npz files and functions, good and bad."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from converters.quantize.calibration import MOST_INPUTS, fingerprint, open_calibration
from converters.quantize.input_format import InputFormat
from evit_mobile.errors import RequestError
from evit_mobile.specs import Preprocessing, Resolution
from evit_mobile.vision.images import load_image

FORM = InputFormat(Resolution(32, 64))
SEEN: list[int] = []


def _noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def _picture(path: Path, *shape: int, mode: str | None = None, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(_noise(*shape, seed=seed))
    (image.convert(mode) if mode else image).save(path)
    return path


def test_pictures_are_preprocessed_as_for_inference(tmp_path: Path) -> None:
    paths = [_picture(tmp_path / "deep" / "er" / "b.png", 50, 40, 3), _picture(tmp_path / "c.jpg", 32, 64, 3, seed=1)]
    data = open_calibration(tmp_path, FORM)
    assert data.count == len(data) == 2 and not data.skipped
    for _ in range(2):
        values = list(data)
        assert all(value.shape == (1, 32, 64, 3) and value.dtype == np.float32 for value in values)
        # Sorted by name: c.jpg stands before deep/.
        for value, path in zip(values, reversed(paths), strict=True):
            assert np.array_equal(value, load_image(path, FORM.resolution, FORM.preprocessing))


def test_two_passes_at_once_do_not_disturb_each_other(tmp_path: Path) -> None:
    for number in range(3):
        _picture(tmp_path / f"{number}.png", 32, 64, 3, seed=number)
    data = open_calibration(tmp_path, FORM)
    assert all(np.array_equal(one, other) for one, other in zip(data, data, strict=True))


def test_other_kinds_of_pictures_are_turned_to_rgb_and_told(tmp_path: Path) -> None:
    _picture(tmp_path / "grey.png", 40, 40)
    _picture(tmp_path / "alpha.png", 40, 40, 4)
    _picture(tmp_path / "cmyk.jpg", 40, 40, 3, mode="CMYK")
    _picture(tmp_path / "palette.gif", 40, 40, 3, mode="P")
    Image.fromarray(np.full((40, 40), 65535, np.uint16)).save(tmp_path / "white16.png")
    data = open_calibration(tmp_path, InputFormat(Resolution(32, 32), Preprocessing(mean=(0, 0, 0), std=(1, 1, 1))))
    assert data.count == 5
    (note,) = [note for note in data.notes if "turned to RGB" in note]
    for kind in ("1 greyscale", "1 with transparency, which is ignored", "1 CMYK", "1 palette", "1 16-bit greyscale"):
        assert kind in note
    grey, white = list(data)[2], list(data)[4]
    assert np.array_equal(grey[..., 0], grey[..., 2])
    assert (white == 1).all()  # and not cut off: 255 of 65535 would be black


def test_cmyk_keeps_its_colours(tmp_path: Path) -> None:
    """A red that Pillow wrote as CMYK, as Adobe does inverted: red again, within JPEG's error."""
    Image.new("RGB", (64, 64), (250, 10, 10)).convert("CMYK").save(tmp_path / "red.jpg", quality=95)
    (value,) = open_calibration(tmp_path, InputFormat(Resolution(32, 32), Preprocessing(mean=(0, 0, 0), std=(1, 1, 1))))
    assert value[..., 0].min() > 0.9 and value[..., 1].max() < 0.15


def test_what_is_no_picture_is_skipped_with_a_count(tmp_path: Path) -> None:
    good = _picture(tmp_path / "good.jpg", 64, 64, 3)
    (tmp_path / "notes.txt").write_text("not a picture")
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "cut.jpg").write_bytes(good.read_bytes()[:700])
    png = _picture(tmp_path / "damaged.png", 64, 64, 3)
    png.write_bytes(png.read_bytes()[:60] + b"\0" * 400 + png.read_bytes()[460:])
    (tmp_path / ".DS_Store").write_bytes(b"hidden")
    data = open_calibration(tmp_path, FORM)
    assert data.count == 1 and {Path(item.path).name for item in data.skipped} == {
        "notes.txt",
        "empty.png",
        "cut.jpg",
        "damaged.png",
    }
    assert any("skipped 4 file(s)" in note for note in data.notes)


def test_few_pictures_are_told(tmp_path: Path) -> None:
    for number in range(2):
        _picture(tmp_path / f"{number}.png", 32, 64, 3, seed=number)
    assert any("2 calibration input(s) are few" in note for note in open_calibration(tmp_path, FORM).notes)


def test_a_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="holds no files"):
        open_calibration(tmp_path, FORM)
    (tmp_path / "notes.txt").write_text("not a picture")
    with pytest.raises(RequestError, match="no file of calibration folder .* is a picture: 1 cannot be read"):
        open_calibration(tmp_path, FORM)


def test_pictures_for_a_model_of_other_channels_are_refused(tmp_path: Path) -> None:
    _picture(tmp_path / "a.png", 32, 64, 3)
    with pytest.raises(RequestError, match="takes 8 channels"):
        open_calibration(tmp_path, InputFormat(FORM.resolution, channels=8))


def test_of_many_files_a_part_is_taken(tmp_path: Path) -> None:
    for number in range(MOST_INPUTS + 40):
        Image.new("RGB", (2, 2), (number % 256, number // 256, 0)).save(tmp_path / f"{number:04}.png")
    data = open_calibration(tmp_path, InputFormat(Resolution(4, 4)))
    assert data.count == MOST_INPUTS and any(
        f"of {MOST_INPUTS + 40} files, {MOST_INPUTS} evenly spaced" in note for note in data.notes
    )


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays(tmp_path: Path, save: object) -> None:
    """uint8 is pictures, float32 is model inputs; both give the same where they hold the same."""
    pixels = _noise(20, 32, 64, 3)
    inputs = (pixels.astype(np.float32) / 255 - np.array(FORM.preprocessing.mean)) / np.array(FORM.preprocessing.std)
    save(tmp_path / "pixels.npz", pixels)  # type: ignore[operator]
    save(tmp_path / "inputs.npz", labels=np.arange(20), images=inputs.astype(np.float32))  # type: ignore[operator]
    one, other = (open_calibration(tmp_path / name, FORM) for name in ("pixels.npz", "inputs.npz"))
    assert one.count == other.count == 20 and not one.notes and not other.notes
    for left, right, wanted in zip(one, other, inputs, strict=True):
        np.testing.assert_allclose(left[0], wanted, atol=1e-5)
        np.testing.assert_allclose(right[0], wanted, atol=1e-5)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros((4, 3, 32, 64), np.float32), "expected .32, 64, 3. .NHWC. .is it NCHW"),
        (np.zeros((4, 32, 32, 3), np.float32), "has shape .32, 32, 3., expected .32, 64, 3."),
        (np.zeros((32, 64, 3), np.float32), "shape .32, 64, 3., expected .N, H, W, C."),
        (np.zeros((4, 32, 64, 3), np.int64), "holds int64, expected uint8 pictures or float32"),
        (np.full((4, 32, 64, 3), np.nan, np.float32), "input 0 of .* not finite"),
        (np.zeros((0, 32, 64, 3), np.float32), "holds no inputs"),
        (np.array([[None]]), "Python objects"),
        (np.asfortranarray(np.zeros((4, 32, 64, 3), np.float32)), "Fortran order"),
    ],
)
def test_arrays_that_are_refused(tmp_path: Path, values: np.ndarray, message: str) -> None:
    np.savez(tmp_path / "x.npz", values)
    with pytest.raises(RequestError, match=message):
        open_calibration(tmp_path / "x.npz", FORM)


def test_archives_that_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    np.savez(path, a=np.zeros(3), b=np.zeros(3))
    with pytest.raises(RequestError, match="holds a, b .expected one array, or one called images"):
        open_calibration(path, FORM)
    np.savez(path, np.zeros((4, 32, 64, 3), np.float32))
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(RequestError, match="no whole .npz"):
        open_calibration(path, FORM)
    path.write_text("text")
    with pytest.raises(RequestError, match="no whole .npz"):
        open_calibration(path, FORM)


def test_raw_pictures_as_floats_are_told(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", _noise(20, 32, 64, 3).astype(np.float32))
    (note,) = open_calibration(tmp_path / "x.npz", FORM).notes
    assert "values reach 255 where pictures reach 2.64" in note and "uint8" in note


def pictures() -> object:
    """A generator function, as a user would write one: some with a leading axis."""
    return (np.zeros((1, 32, 64, 3) if number % 2 else (32, 64, 3), np.float32) + number for number in range(20))


def shrinking() -> object:
    """Each call gives one less."""
    SEEN.append(0)
    return (np.zeros((32, 64, 3), np.float32) for _ in range(20 - len(SEEN)))


@pytest.fixture
def importable(monkeypatch: pytest.MonkeyPatch) -> str:
    """The name under which this very file's functions can be imported."""
    import sys

    monkeypatch.setitem(sys.modules, "calibration_functions", sys.modules[__name__])
    return "calibration_functions"


def test_a_function(importable: str) -> None:
    data = open_calibration(f"{importable}:pictures", FORM)
    assert [value.max() for value in data] == [value.min() for value in data] == list(range(20))
    assert fingerprint(f"{importable}:pictures") is None


def test_a_function_has_to_give_the_same_again(importable: str) -> None:
    SEEN.clear()
    data = open_calibration(f"{importable}:shrinking", FORM)
    with pytest.raises(RequestError, match="gave 19 inputs and then 18"):
        list(data)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("absent_package:function", "cannot be imported"),
        ("calibration_functions:absent", "cannot be imported"),
        ("calibration_functions:FORM", "failed: TypeError: .*not callable"),
        ("nowhere", "does not exist"),
        (__file__, "is one file"),
    ],
)
def test_sources_that_are_refused(importable: str, name: str, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        open_calibration(name, FORM)


def test_hashes_tell_data_apart(tmp_path: Path) -> None:
    path = _picture(tmp_path / "a.png", 32, 64, 3)
    one, seen = open_calibration(tmp_path, FORM).sha256, fingerprint(tmp_path)
    assert (open_calibration(tmp_path, FORM).sha256, fingerprint(tmp_path)) == (one, seen)
    _picture(path, 32, 64, 3, seed=1)
    assert open_calibration(tmp_path, FORM).sha256 != one and fingerprint(tmp_path) != seen


@pytest.mark.parametrize("kind", ["folder", "npz"])
def test_memory_does_not_grow_with_the_number_of_inputs(tmp_path: Path, kind: str) -> None:
    """160 inputs of 590 kB as floats; a tenth of them may be in memory at once."""
    form = InputFormat(Resolution(224, 224))
    if kind == "folder":
        for number in range(160):
            Image.new("RGB", (224, 224), (number, 0, 0)).save(tmp_path / f"{number:03}.png")
    else:
        np.savez(tmp_path / "x.npz", np.broadcast_to(np.float32(1), (160, 224, 224, 3)))
    source = tmp_path if kind == "folder" else tmp_path / "x.npz"
    tracemalloc.start()
    try:
        assert sum(1 for _ in open_calibration(source, form)) == 160
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 160 * 224 * 224 * 3 * 4 / 10
