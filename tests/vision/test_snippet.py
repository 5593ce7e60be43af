"""The code of ``evit-mobile snippet``: that in Python and in C++ is run, beside what ``run`` itself computes.

The C++ code is linked with the library in the Python wheel, which has no headers: what it uses of them is declared in
``litert_declarations.h``. Kotlin and Swift are not compiled, since no package has their compilers and an Android or iOS
SDK: the numbers in them are compared with the Python code's.
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ai_edge_litert
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from numpy.typing import NDArray
from PIL import Image
from torch import nn

import evit_mobile as em
from converters.parity.stimuli import bundled_photograph
from evit_mobile.cli.main import cli
from evit_mobile.errors import RequestError
from evit_mobile.tflite.file import Tflite
from evit_mobile.tflite.flatbuffer import pack
from evit_mobile.vision.images import load_pixels
from evit_mobile.vision.inference import open_model
from evit_mobile.vision.purpose import purpose_of
from evit_mobile.vision.snippet import snippet

SIDE = 32
DECLARATIONS = Path(__file__).with_name("litert_declarations.h")
#: The app around the C++ code: a file, a picture's bytes, and where each output goes.
APP = """
#include "snippet.cc"
#include <cstdio>
#include <iterator>
#include <fstream>

int main(int, char** words) {
  std::ifstream file(words[2], std::ios::binary);
  std::vector<char> rgb{std::istreambuf_iterator<char>(file), {}};
  Model model;
  if (!Load(&model, words[1], 1)) return 3;
  for (int run = 0; run < 2; ++run)
    if (!Run(&model, reinterpret_cast<const uint8_t*>(rgb.data()))) return 4;
  std::ofstream out(words[3], std::ios::binary);
  for (const auto& values : {OUTPUTS})
    out.write(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float));
}
"""


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


@functools.cache
def _compiler() -> str:
    found = shutil.which("g++") or shutil.which("clang++")
    if found is None and os.environ.get("CI") == "true":
        pytest.fail("there is no C++ compiler: apt install g++")
    if found is None:
        pytest.skip("there is no C++ compiler: apt install g++")
    return found


def _run_cpp(model: Path, folder: Path, signature: str | None = None) -> dict[str, NDArray[np.float32]]:
    """The outputs of the C++ code for the bundled photograph, as ``run`` fits it into the input."""
    code = snippet(model, "cpp", signature=signature)
    for header in re.findall(r'#include "(litert/c/.*)"', code):
        (folder / header).parent.mkdir(parents=True, exist_ok=True)
        (folder / header).write_text(f'#include "{DECLARATIONS}"\n')
    names = re.findall(r"^// (\S+) \[.*\]\nstd::vector<float> Output", code, re.MULTILINE)
    (folder / "snippet.cc").write_text(code)
    calls = ", ".join(f"Output{index}(model)" for index in range(len(names)))
    (folder / "app.cc").write_text(APP.replace("OUTPUTS", calls))
    library = Path(ai_edge_litert.__file__).parent / "libLiteRt.so"
    linked = [str(library), f"-Wl,-rpath,{library.parent}"]
    flags = ["-std=c++17", "-O1", "-Wall", "-Wextra", "-Werror", f"-I{folder}"]
    subprocess.run([_compiler(), *flags, "app.cc", "-o", "app", *linked], cwd=folder, check=True)
    purpose = purpose_of(model, signature=signature)
    pixels, _ = load_pixels(bundled_photograph(), purpose.resolution, purpose.preprocessing)
    (folder / "rgb").write_bytes(pixels.tobytes())
    done = subprocess.run(["./app", str(model), "rgb", "out"], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    values, start, outputs = np.fromfile(folder / "out", np.float32), 0, {}
    with open_model(model, purpose) as loaded:
        expected, _ = loaded.run(Image.open(bundled_photograph()).convert("RGB"))
    for name in names:
        outputs[name] = values[start : start + expected[name].size].reshape(expected[name].shape)
        start += expected[name].size
    assert start == len(values)
    return outputs


def _check_cpp_as_run(model: Path, folder: Path, signature: str | None = None) -> None:
    """Within 1e-4 of the largest value, as ``verify``: one product and one sum a pixel round otherwise than ``run``."""
    actual = _run_cpp(model, folder, signature)
    with open_model(model, purpose_of(model, signature=signature)) as loaded:
        expected, _ = loaded.run(Image.open(bundled_photograph()).convert("RGB"))
    assert actual.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(actual[name], value, rtol=0, atol=1e-4 * np.abs(value).max())


def test_cpp_runs_a_classifier(small_tflite: Path, tmp_path: Path) -> None:
    _check_cpp_as_run(small_tflite, tmp_path)


def test_cpp_runs_a_detector(converted: Callable[..., Path], tmp_path: Path) -> None:
    _check_cpp_as_run(converted("shapes-det"), tmp_path)


def test_cpp_runs_the_signature_that_is_asked_for(two_resolutions: Path, tmp_path: Path) -> None:
    _check_cpp_as_run(two_resolutions, tmp_path, "r64")


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
    _check_cpp_as_run(model, tmp_path)
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


@pytest.mark.parametrize("language", ["kotlin", "swift"])
def test_the_other_languages_name_the_file_s_own_ends(small_tflite: Path, language: str) -> None:
    code = snippet(small_tflite, language)
    for text in ("serving_default", "image", "logits", "[1, 96, 96, 3]", "4"):
        assert text in code
    assert code.count("{") == code.count("}") and code.count("(") == code.count(")")


def test_a_name_that_would_leave_its_string_is_refused(small_tflite: Path, tmp_path: Path) -> None:
    tree = Tflite.read(small_tflite).editable_tree()
    tree.signatureDefs[0].outputs[0].name = b'x"); system("true'
    (tmp_path / "hostile.tflite").write_bytes(pack(tree))
    with pytest.raises(RequestError, match="called"):
        snippet(tmp_path / "hostile.tflite", "cpp")
