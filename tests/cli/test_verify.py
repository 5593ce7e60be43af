"""``evit-mobile verify`` as a user meets it: exit codes, one document on stdout, one line for each fault."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from evit_mobile.cli.main import main
from evit_mobile.tflite.flatbuffer import pack, unpack
from evit_mobile.tflite.graph import read_graph


def _run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    captured = capsys.readouterr()
    return int(ended.value.code or 0), captured.out, captured.err


@pytest.fixture
def broken(small_tflite: Path, tmp_path: Path) -> Path:
    """One class of a thousand has a wrong bias."""
    graph, model = read_graph(small_tflite), unpack(small_tflite.read_bytes())
    (bias,) = [tensor for tensor in graph.tensors if tensor.name.endswith("head/classify/Gemm_fc_bias")]
    values = np.array(bias.values())
    values[3] += 1000
    model.buffers[model.subgraphs[0].tensors[bias.index].buffer].data = np.frombuffer(values.tobytes(), np.uint8)
    path = tmp_path / "broken.tflite"
    path.write_bytes(pack(model))
    return path


def test_sound_model(small_tflite: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = _run(capsys, "verify", str(small_tflite), "--json")
    assert code == 0
    report = json.loads(out)
    assert report["passed"] and {row["input"] for row in report["rows"]} >= {"noise", "photograph"}
    assert max(row["relative_error"] for row in report["rows"]) <= 1e-4


def test_broken_model_ends_in_1_and_still_prints_the_document(broken: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = _run(capsys, "verify", str(broken), "--layers", "--json")
    assert code == 1
    report = json.loads(out)
    assert not report["passed"] and report["layers"]["parted"] == "head.classify"
    (line,) = [line for line in err.splitlines() if line.startswith("error:")]
    assert "no parity with pytorch" in line and "output logits" in line and "allowed 1e-04" in line


def test_table(broken: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = _run(capsys, "verify", str(broken), "--layers")
    assert code == 1
    assert "parts first at head.classify" in out and out.rstrip().endswith("failed")


def test_bad_requests_end_in_2_with_one_line(
    small_tflite: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "text.tflite").write_text("not a model, but long enough to be one")
    (tmp_path / "cut.tflite").write_bytes(small_tflite.read_bytes()[:50_000])
    (tmp_path / "text.jpg").write_text("not a picture")
    for arguments, word in [
        ([str(tmp_path / "text.tflite")], "not a .tflite"),
        ([str(tmp_path / "cut.tflite")], "damaged or truncated"),
        ([str(tmp_path / "absent.tflite")], "No such file"),
        ([str(tmp_path)], "Is a directory"),
        ([str(small_tflite), "--runtime", "litertt"], "did you mean litert"),
        ([str(small_tflite), "--image", str(tmp_path / "text.jpg")], "not an image"),
        ([str(small_tflite), "--resolution", "128"], "takes 96 images, not 128"),
    ]:
        code, out, err = _run(capsys, "verify", *arguments)
        assert (code, out) == (2, ""), arguments
        (line,) = [line for line in err.splitlines() if line.startswith("error:")]
        assert word in line
