"""Text from outside is shown, never acted on; numbers that are none are refused."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from evit_mobile.cli.main import main
from evit_mobile.tflite.flatbuffer import pack, unpack
from evit_mobile.tflite.graph import read_graph

HOSTILE = "x\x1b[2J\x07\u202e"


def _on_a_terminal(arguments: Sequence[str]) -> tuple[int, str]:
    """Exit code and all that a terminal gets."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "evit_mobile.cli.main", *arguments]
    with subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, env={**os.environ, "TERM": "xterm"}
    ) as done:
        os.close(theirs)
        shown = b""
        try:
            while part := os.read(ours, 65536):
                shown += part
        except OSError:  # Linux says so where the other end is closed
            pass
    os.close(ours)
    return done.returncode, shown.decode(errors="replace")


@pytest.mark.parametrize("name", ["no[/red].tflite", f"{HOSTILE}.tflite"])
def test_a_files_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(b"no model")
    for command in ("verify", "inspect"):
        code, shown = _on_a_terminal([command, str(tmp_path / name)])
        assert code == 2 and "is not a .tflite file" in shown.replace("\r\n", ""), shown
        assert not any(part in shown for part in ("\x1b[2J", "\x07", "\u202e", "MarkupError"))


def test_names_in_a_file(small_tflite: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = unpack(small_tflite.read_bytes())
    for tensor in model.subgraphs[0].tensors:
        tensor.name = HOSTILE.encode()
    path = tmp_path / "stranger.tflite"
    path.write_bytes(pack(model))
    assert {tensor.name for tensor in read_graph(path).tensors} == {"x\ufffd[2J\ufffd\ufffd"}
    with pytest.raises(SystemExit) as ended:
        main(["inspect", str(path), "--ops"])
    out = capsys.readouterr().out
    assert ended.value.code == 0 and not any(char in out for char in "\x1b\x07\u202e")


@pytest.mark.parametrize(
    "arguments",
    [
        ["bench", "--suite", "figure-5-right", "--budget", "nan"],
        ["bench", "--suite", "figure-5-right", "--budget", "inf"],
        ["run", "m.tflite", "--image", "i.png", "--threshold", "nan"],
        ["evaluate", "m.tflite", "--data", ".", "--threads", "1000000"],
    ],
)
def test_numbers_that_are_none(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2 and "Invalid value" in capsys.readouterr().err
