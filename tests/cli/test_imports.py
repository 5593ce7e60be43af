"""What a command imports: nothing heavy before it is needed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

CASES = {
    "help": (["--help"], 0, {"torch", "numpy", "pydantic", "converters", "android_bench"}),
    "models": (["models"], 0, {"torch", "onnx", "pydantic", "converters", "android_bench"}),
    "unknown name": (
        ["convert", "--model", "base-r22", "--out", "x.tflite"],
        2,
        {"torch", "numpy", "onnx", "pydantic", "converters.pipeline", "android_bench"},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_command_imports_only_what_it_needs(case: str, tmp_path: Path) -> None:
    arguments, code, heavy = CASES[case]
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "evit_mobile.cli.main", *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    imported = {line.rpartition("|")[2].strip() for line in lines}
    assert done.returncode == code and "click" in imported
    assert imported & heavy == set()
