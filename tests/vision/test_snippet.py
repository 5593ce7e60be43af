"""The code of ``evit-mobile snippet``: the Python one is run, beside what ``run`` itself computes.

The others are not compiled here, since neither an Android or iOS SDK nor TensorFlow Lite's headers are installed: the
numbers in them are compared with the Python code's.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from torch import nn

import evit_mobile as em
from converters.parity.stimuli import bundled_photograph
from evit_mobile.cli.main import cli
from evit_mobile.errors import RequestError
from evit_mobile.tflite.file import Tflite
from evit_mobile.tflite.flatbuffer import pack
from evit_mobile.vision.inference import open_model
from evit_mobile.vision.purpose import purpose_of
from evit_mobile.vision.snippet import LANGUAGES, snippet

SIDE = 32


def _tiny(precision: str, **options: Any) -> em.Conversion:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))
    return em.convert(
        net.eval(),
        em.ConvertOptions(**options),
        resolution=SIDE,
        precision=precision,
        mean=(0.5, 0.4, 0.3),
        std=0.2,
        task="classification",
        labels=("ant", "bee", "cat", "dog"),
    )


def _namespace(code: str) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "snippet"}
    exec(compile(code, "snippet.py", "exec"), names)
    return names


def _check_as_run(model: Path) -> None:
    """Bit by bit: the same resizing, the same arithmetic, the same runtime."""
    photo = Image.open(bundled_photograph())
    names = _namespace(snippet(model, "python"))
    actual = names["run"](names["load"](str(model)), photo)
    with open_model(model, purpose_of(model)) as loaded:
        expected, _ = loaded.run(photo.convert("RGB"))
    assert actual.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(actual[name][0], value)


def test_a_classifier(small_tflite: Path) -> None:
    _check_as_run(small_tflite)


def test_a_detector_takes_whole_pictures(converted: Callable[..., Path]) -> None:
    _check_as_run(converted("shapes-det"))


@pytest.mark.parametrize("io_type", ["float32", "int8", "uint8"])
def test_quantised_inputs(io_type: str, tmp_path: Path) -> None:
    from evit_mobile.specs import IoType

    images = tmp_path / "images.npz"
    np.savez(images, np.random.default_rng(0).integers(0, 256, (8, SIDE, SIDE, 3), np.uint8))
    conversion = _tiny("int8", io_type=IoType(io_type), calibration=str(images))
    model = conversion.save(tmp_path / "tiny.tflite")
    _check_as_run(model)
    if io_type == "float32":
        return
    # The other languages have the same arithmetic as one product and one sum.
    code = snippet(model, "cpp")
    factor, offset = (
        np.array([float(text) for text in re.findall(r"-?[\d.]+(?:e-?\d+)?(?=f)", line)])
        for line in re.findall(r"float (?:factor|offset)\[\] = (.*);", code)
    )
    input_of = _namespace(snippet(model, "python"))["input_of"]
    pixels = np.random.default_rng(1).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    bounds = np.iinfo(io_type)
    expected = input_of(Image.fromarray(pixels).resize((64, 64), Image.Resampling.NEAREST))
    assert expected.dtype == io_type and expected.shape == (1, SIDE, SIDE, 3)
    grey = input_of(Image.new("RGB", (64, 64), (200, 100, 50)))[0, 0, 0].astype(int)
    computed = np.clip(np.rint(np.array([200, 100, 50]) * factor + offset), bounds.min, bounds.max)
    assert np.abs(grey - computed).max() <= 1  # a tie may be rounded to the other side


def test_the_script_prints_names_and_scores(tmp_path: Path) -> None:
    _tiny("fp32").save(tmp_path / "tiny.tflite")
    done = CliRunner().invoke(
        cli, ["snippet", str(tmp_path / "tiny.tflite"), "--lang", "python", "--out", str(tmp_path / "app.py")]
    )
    assert done.exception is None
    printed = subprocess.run(
        [sys.executable, "app.py", str(bundled_photograph())], cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout
    assert sorted(line.split()[1] for line in printed.splitlines()) == ["ant", "bee", "cat", "dog"]


@pytest.mark.parametrize("language", [language for language in LANGUAGES if language != "python"])
def test_the_other_languages_name_the_file_s_own_ends(small_tflite: Path, language: str) -> None:
    code = snippet(small_tflite, language)
    for text in ("serving_default", "image", "logits", "[1, 96, 96, 3]" if language != "cpp" else "96x96x3", "4"):
        assert text in code
    assert code.count("{") == code.count("}") and code.count("(") == code.count(")")


def test_a_name_that_would_leave_its_string_is_refused(small_tflite: Path, tmp_path: Path) -> None:
    tree = Tflite.read(small_tflite).editable_tree()
    tree.signatureDefs[0].outputs[0].name = b'x"); system("true'
    (tmp_path / "hostile.tflite").write_bytes(pack(tree))
    with pytest.raises(RequestError, match="called"):
        snippet(tmp_path / "hostile.tflite", "cpp")
