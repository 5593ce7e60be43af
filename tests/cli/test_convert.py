"""``evit-mobile convert`` as a user meets it: what it writes, what it says, and what bad input ends in."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import psutil
import pytest
import torch

from converters.options import ConvertOptions
from converters.pipeline import convert
from evit_mobile.runtimes import RUNTIMES
from evit_mobile.specs import Resolution
from evit_mobile.tflite.description import read_description

COMMAND = [sys.executable, "-m", "evit_mobile.cli.main"]
SMALL = ["convert", "--model", "base-r192", "--resolution", "96"]


def _run(arguments: list[str], folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
    )


def test_what_is_written(small_tflite: Path) -> None:
    """NHWC float input, batch 1, named signature; our own entry; labels and standard metadata."""
    with RUNTIMES["litert"].open(small_tflite) as session:
        (image,), (logits,) = session.inputs, session.outputs
        assert (image.name, image.shape, image.dtype) == ("image", (1, 96, 96, 3), "float32")
        assert logits.shape == (1, 1000)
        assert session.output_names() == ["logits"]
    description = read_description(small_tflite)
    assert description is not None
    assert (description.model, description.resolution, description.seed) == ("base-r192", "96", 0)
    assert description.weights_sha256 is None
    assert {"torch", "onnx2tf", "evit-mobile"} <= description.versions.keys()


def test_json_is_one_document_and_the_folder_stays_clean(small_tflite: Path, tmp_path: Path) -> None:
    done = _run([*SMALL, "--out", "m.tflite", "--json"], tmp_path)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["cached"]  # small_tflite was made in the same cache
    assert report["bytes_tflite"] == (tmp_path / "m.tflite").stat().st_size
    assert report["seconds"].keys() == {
        "build",
        "export",
        "check",
        "passes",
        "lower",
        "ranges",
        "quantise",
        "write",
    }
    assert sum(report["onnx_ops_before"].values()) > 200
    assert "predictions mean nothing" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["m.tflite"]
    assert (tmp_path / "m.tflite").read_bytes() == small_tflite.read_bytes()


def test_the_same_conversion_gives_the_same_bytes(
    small_tflite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVIT_MOBILE_CACHE", str(tmp_path))
    report = convert("base-r192", tmp_path / "m.tflite", ConvertOptions(resolution=Resolution(96, 96)))
    assert not report.cached
    assert (tmp_path / "m.tflite").read_bytes() == small_tflite.read_bytes()


def test_a_damaged_cache_is_not_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_tflite: Path) -> None:
    (tmp_path / "models").mkdir()
    report = small_tflite.with_suffix(".json")
    (tmp_path / "models" / small_tflite.name).write_bytes(small_tflite.read_bytes()[:-100])
    (tmp_path / "models" / report.name).write_bytes(report.read_bytes())
    monkeypatch.setenv("EVIT_MOBILE_CACHE", str(tmp_path))
    assert not convert("base-r192", tmp_path / "m.tflite", ConvertOptions(resolution=Resolution(96, 96))).cached


def test_onnx_file_and_keep_onnx(tmp_path: Path) -> None:
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()
    )
    with warnings.catch_warnings(action="ignore"):
        torch.onnx.export(
            net.eval(), (torch.zeros(1, 3, 16, 16),), tmp_path / "net.onnx", dynamo=False, input_names=["photo"]
        )
    done = _run(["convert", "--model", "net.onnx", "--out", "net.tflite", "--keep-onnx", "kept.onnx"], tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "kept.onnx").is_file()
    description = read_description(tmp_path / "net.tflite")
    assert description is not None and description.onnx_sha256 is not None


BAD_REQUESTS = {
    "unknown model": (["convert", "--model", "base-r22", "--out", "m.tflite"], "did you mean base-r224"),
    "resolution that does not divide": (
        ["convert", "--model", "base-r224", "--resolution", "225", "--out", "m.tflite"],
        "224 or 256",
    ),
    "absurd resolution": (
        ["convert", "--model", "base-r224", "--resolution", "99968", "--out", "m.tflite"],
        "out of range",
    ),
    "no resolution": (["convert", "--model", "base-r224", "--resolution", "0", "--out", "m.tflite"], "out of range"),
    "resolution that is no number": (
        ["convert", "--model", "base-r224", "--resolution", "big", "--out", "m.tflite"],
        "not a size",
    ),
    "missing folder": ([*SMALL, "--out", "none/m.tflite"], "no folder none"),
    "output is a folder": ([*SMALL, "--out", "folder"], "is a folder"),
    "existing output": ([*SMALL, "--out", "there.tflite"], "--force replaces it"),
    "missing weights": ([*SMALL, "--out", "m.tflite", "--weights", "none.pth"], "do not exist"),
    "other model's weights": ([*SMALL, "--out", "m.tflite", "--weights", "other.pth"], "do not fit"),
    "onnx with weights": (
        ["convert", "--model", "there.onnx", "--weights", "other.pth", "--out", "m.tflite"],
        "leave out",
    ),
    "foreign onnx": (["convert", "--model", "there.onnx", "--out", "m.tflite"], "not a whole, valid ONNX"),
    "unknown attention form": ([*SMALL, "--out", "m.tflite", "--attention-form", "magic"], "magic"),
    "unknown option": ([*SMALL, "--out", "m.tflite", "--frobnicate"], "No such option"),
}


@pytest.mark.parametrize("case", BAD_REQUESTS)
def test_bad_requests_end_in_exit_2_and_one_line(case: str, tmp_path: Path) -> None:
    arguments, message = BAD_REQUESTS[case]
    (tmp_path / "folder").mkdir()
    (tmp_path / "there.tflite").write_bytes(b"mine")
    (tmp_path / "there.onnx").write_bytes(b"<html>")
    torch.save(torch.nn.Linear(2, 2).state_dict(), tmp_path / "other.pth")
    before = sorted(path.name for path in tmp_path.iterdir())
    done = _run(arguments, tmp_path)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert sum(line.lower().startswith("error") for line in done.stderr.splitlines()) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    assert (tmp_path / "there.tflite").read_bytes() == b"mine"


def test_unwritable_folder(tmp_path: Path) -> None:
    """/sys takes no new files, from root neither."""
    done = _run([*SMALL, "--out", "/sys/m.tflite"], tmp_path)
    assert done.returncode == 2 and "not writable" in done.stderr


def test_a_full_disk_is_exit_4_and_leaves_nothing(tmp_path: Path, small_tflite: Path) -> None:
    """A file-size limit of 1 MB makes the kernel refuse the write of the 30 MB model, as a full disk does."""
    ignore, limit = (
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)",
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, 2**20))",
    )
    start = f"import resource, signal; {ignore}; {limit}; from evit_mobile.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", start, *SMALL, "--out", "m.tflite"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 4, done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_crash_of_the_converter_is_exit_4(tmp_path: Path) -> None:
    """An onnx2tf that aborts: its last words are told, there is no traceback of ours, nothing is written."""
    (tmp_path / "onnx2tf.py").write_text("import os\nprint('no more memory', flush=True)\nos.abort()\n")
    done = _run([*SMALL, "--seed", "5", "--out", "m.tflite"], tmp_path, PYTHONPATH=str(tmp_path))
    assert done.returncode == 4, done.stderr
    assert "SIGABRT" in done.stderr and "no more memory" in done.stderr
    assert not (tmp_path / "m.tflite").exists()


def test_ctrl_c_is_exit_130_and_leaves_nothing(tmp_path: Path) -> None:
    # A seed that no other test has: what is in the cache would be there before the signal.
    process = subprocess.Popen(
        [*COMMAND, *SMALL, "--seed", "130", "--out", "m.tflite"], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    )
    while not psutil.Process(process.pid).children() and process.poll() is None:
        time.sleep(0.05)  # until the converter's own process runs: then it is at work
    process.send_signal(signal.SIGINT)  # once: where a library's import swallows it, we hear it all the same
    _, words = process.communicate(timeout=60)
    assert process.returncode == 130, words
    assert "Traceback" not in words
    assert list(tmp_path.iterdir()) == []
