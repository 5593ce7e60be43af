"""``evit-mobile inspect`` as a user meets it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from evit_mobile.cli.main import main
from evit_mobile.specs import Resolution


def _run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    captured = capsys.readouterr()
    return int(ended.value.code or 0), captured.out, captured.err


def test_json_counts(small_tflite: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = _run(capsys, "inspect", str(small_tflite), "--json")
    document = json.loads(out)
    assert code == 0
    assert sum(document["op_counts"].values()) == document["op_total"] == len(document["ops"])
    assert document["partitions"] >= 1 and document["undelegated_count"] == len(document["undelegated"])


def test_text(converted: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    model = converted("base-r192", resolution=Resolution(96, 96), rewrite=False)
    code, out, _ = _run(capsys, "inspect", str(model), "--ops")
    assert code == 0
    assert "8 partition(s), 21 undelegated op(s)" in out and "undelegated: 21 GATHER: litert does not delegate" in out
    assert "DEPTHWISE_CONV_2D" in out and ", partition 7, float32: " in out


def test_all_runtimes_in_one_table(small_tflite: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = _run(capsys, "inspect", str(small_tflite), "--runtime", "all", "--json")
    document = json.loads(out)
    assert code == 0 and document["runtimes"]["litert"]["error"] is None
    assert {"litert", "litert-latest", "tflite-runtime", "tensorflow"} <= document["runtimes"].keys()


def test_bad_files_end_in_2_with_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "picture.tflite").write_bytes(b"\x89PNG\r\n\x1a\n" * 20)
    for arguments in (
        [str(tmp_path / "picture.tflite")],
        [str(tmp_path)],
        [str(tmp_path / "absent.tflite"), "--runtime", "all"],
    ):
        code, out, err = _run(capsys, "inspect", *arguments)
        assert (code, out) == (2, "")
        assert len([line for line in err.splitlines() if line.startswith("error:")]) == 1
