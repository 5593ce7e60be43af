"""Values in a .tflite's own entry are checked where the file is read: one line, exit 2, whichever command reads it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evit_mobile.cli.main import main
from evit_mobile.specs import Preprocessing
from evit_mobile.tflite.description import OWN_ENTRY, read_description
from evit_mobile.tflite.flatbuffer import pack, unpack

SOUND: dict[str, Any] = {
    "mean": [0.5, 0.5, 0.5],
    "std": [0.5, 0.5, 0.5],
    "crop_fraction": 0.9,
    "interpolation": "bilinear",
    "fit": "crop",
}
QUANTISED: dict[str, Any] = {
    "io_type": "int8",
    "calibration_images": 1,
    "calibration_sha256": None,
    "reasons": ["because"],
    "op_reasons": [0],
}
HOSTILE: dict[str, dict[str, Any]] = {
    **{f"crop {value}": {"preprocessing": {**SOUND, "crop_fraction": value}} for value in (0, -1, 1e-9, 2, "x", None)},
    **{f"std {value}": {"preprocessing": {**SOUND, "std": [value, 1, 1]}} for value in (0, -1, 1e-300, 1e400, "x")},
    "mean": {"preprocessing": {**SOUND, "mean": [float("nan"), 0, 0]}},
    "two means": {"preprocessing": {**SOUND, "mean": [0, 0]}},
    "interpolation": {"preprocessing": {**SOUND, "interpolation": "psychic"}},
    "fit": {"preprocessing": {**SOUND, "fit": "stretch"}},
    "precision": {"precision": "fp64"},
    "seed": {"seed": 10**30},
    "seed is text": {"seed": "zero"},
    "reasons": {"quantisation": {**QUANTISED, "op_reasons": [1]}},
    "negative reasons": {"quantisation": {**QUANTISED, "op_reasons": [-1]}},
    "io type": {"quantisation": {**QUANTISED, "io_type": "float4"}},
    "screen": {"model": "base-r192\x1b[2J"},
    "override": {"model": "base-\u202er192"},
    "no name": {"model": ""},
    "surrogate": {"model": "base-\udc80"},
    "long name": {"model": "b" * 10_000},
    "hash": {"weights_sha256": "\x1b]0;title\x07"},
    "resolution": {"resolution": "96\x1b[2J"},
    "shape": {"input_shapes": {"x": [0, -1]}},
    "dimensions": {"input_shapes": {"x": [1] * 100}},
    "channels": {"channels": -3},
    "exporter": {"exporter": "telepathy"},
    "no labels": {"labels": []},
    "a label's length": {"labels": ["a" * 10_000]},
    "a label on screen": {"labels": ["a\x1b[2J"]},
    "an empty label": {"labels": ["a", ""]},
    "a million labels": {"labels": ["a"] * 1_000_000},
    "labels are text": {"labels": "abc"},
    "classes": {"classes": 0},
    "a list": {"versions": ["1"]},
}


def _refused(path: Path, capsys: pytest.CaptureFixture[str], command: str = "inspect") -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, str(path)])
    captured = capsys.readouterr()
    assert (ended.value.code, captured.out) == (2, "")
    (line,) = captured.err.splitlines()
    assert f"its {OWN_ENTRY} entry is damaged" in line and line.isprintable()


@pytest.mark.parametrize("change", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_values(
    described: Callable[..., Path], capsys: pytest.CaptureFixture[str], change: dict[str, Any]
) -> None:
    _refused(described(**change), capsys)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"[" * 100_000, b"null", b'{"model": "\xc3"}'])
def test_bytes_that_are_no_document(
    small_tflite: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    model = unpack(small_tflite.read_bytes())
    (entry,) = [entry for entry in model.metadata if entry.name == OWN_ENTRY.encode()]
    model.buffers[entry.buffer].data = np.frombuffer(content, np.uint8)
    (tmp_path / "stranger.tflite").write_bytes(pack(model))
    _refused(tmp_path / "stranger.tflite", capsys, "verify")


def test_sound_values_are_read_as_they_stand(described: Callable[..., Path]) -> None:
    description = read_description(described(preprocessing=SOUND, quantisation=QUANTISED, seed=2**63 - 1))
    assert description is not None and description.seed == 2**63 - 1
    assert description.preprocessing == Preprocessing((0.5,) * 3, (0.5,) * 3, 0.9, "bilinear")
    assert description.quantisation is not None and description.quantisation.io_type == "int8"
