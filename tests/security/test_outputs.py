"""An output never takes the place of an input, of what is no file, or of anything that --force does not allow."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from evit_mobile.cli.main import main
from evit_mobile.errors import RequestError
from evit_mobile.files import check_output

RESULTS = Path(__file__).resolve().parents[2] / "benchmarks" / "results" / "host" / "figure-5-right.json"


def _refused(capsys: pytest.CaptureFixture[str], arguments: Sequence[str], words: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    captured = capsys.readouterr()
    (line,) = [line for line in captured.err.splitlines() if line.startswith("error:")]
    assert (ended.value.code, captured.out) == (2, "") and words in line


def test_inputs_stay(small_tflite: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With --force, under its own name, through a symbolic and through a hard link."""
    model, photo = tmp_path / "model.tflite", tmp_path / "photo.png"
    onnx, weights, results = tmp_path / "net.onnx", tmp_path / "weights.pt", tmp_path / "results.json"
    model.write_bytes(small_tflite.read_bytes())
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(photo)
    for path in (onnx, weights, results):
        path.write_bytes(b"valuable")
    results.write_bytes(RESULTS.read_bytes())
    for path in (model, onnx):
        (tmp_path / f"symbolic-{path.name}").symlink_to(path)
        os.link(path, tmp_path / f"hard-{path.name}")
    before = {path: hashlib.sha256(path.read_bytes()).digest() for path in tmp_path.iterdir()}
    for target in (onnx, tmp_path / "symbolic-net.onnx", tmp_path / "hard-net.onnx"):
        _refused(capsys, ["convert", "--model", str(onnx), "--out", str(target), "--force"], "is an input")
    base = ["convert", "--model", "base-r192", "--force"]
    _refused(capsys, [*base, "--weights", str(weights), "--out", str(weights)], "is an input")
    _refused(
        capsys,
        [*base, "--weights", str(weights), "--out", str(tmp_path / "new.tflite"), "--keep-onnx", str(weights)],
        "is an input",
    )
    same = str(tmp_path / "new.tflite")
    _refused(capsys, [*base, "--out", same, "--keep-onnx", f"{tmp_path}/./new.tflite"], "two outputs")
    for target in (model, tmp_path / "symbolic-model.tflite", tmp_path / "hard-model.tflite"):
        _refused(capsys, ["bench", "--device", "host", str(model), "--out", str(target), "--force"], "is an input")
        _refused(capsys, ["run", str(model), "--image", str(photo), "--out", str(target), "--force"], "is an input")
    _refused(capsys, ["run", str(model), "--image", str(photo), "--out", str(photo), "--force"], "is an input")
    _refused(capsys, ["report", str(results), "--out", str(results), "--force"], "is an input")
    assert {path: hashlib.sha256(path.read_bytes()).digest() for path in tmp_path.iterdir()} == before


def test_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    for name, words in [("pipe", "a pipe or a device"), ("n" * 250, "too long"), ("é" * 125, "too long")]:
        with pytest.raises(RequestError, match=words):
            check_output(tmp_path / name, force=True)
    with pytest.raises(RequestError, match="a pipe or a device"):
        check_output(Path("/dev/null"), force=True)
    with pytest.raises(RequestError, match="exists .--force"):
        check_output(tmp_path / "dangling")
    check_output(tmp_path / "dangling", force=True)
    check_output(tmp_path / ("n" * 245))


@pytest.mark.parametrize("kind", ["a file", "below a file", "read-only"])
def test_a_cache_that_cannot_be_written(tmp_path: Path, kind: str) -> None:
    """HOME that is a file; a folder below one; /proc, which not even root may write to."""
    (tmp_path / "home").write_text("")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("EVIT_MOBILE", "XDG"))}
    environment |= {
        "a file": {"HOME": str(tmp_path / "home")},
        "below a file": {"EVIT_MOBILE_CACHE": str(tmp_path / "home" / "cache")},
        "read-only": {"EVIT_MOBILE_CACHE": "/proc/evit-mobile"},
    }[kind]
    (tmp_path / "tmp").mkdir()
    program = (
        "from evit_mobile.files import cache_folder\n"
        "for name in ('models', 'models', 'locks'):\n"
        "    (cache_folder(name) / 'x').write_text('')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**environment, "TMPDIR": str(tmp_path / "tmp")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("warning: nothing is cached")
    assert not list((tmp_path / "tmp").iterdir())
