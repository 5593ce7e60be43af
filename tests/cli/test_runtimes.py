"""``evit-mobile runtimes`` as a user meets it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from evit_mobile.runtimes import RUNTIMES

#: Both APIs of the package that evit-mobile depends on.
BUNDLED = {"litert", "compiled-model"}
COMMAND = [sys.executable, "-m", "evit_mobile.cli.main", "runtimes"]


def _run(cache: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "EVIT_MOBILE_CACHE": str(cache)}
    return subprocess.run(
        [*COMMAND, *arguments], env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL
    )


def test_list(tmp_path: Path) -> None:
    done = _run(tmp_path)
    assert done.returncode == 0
    assert done.stderr == ""
    for name in RUNTIMES:
        assert name in done.stdout
    assert (
        "to install: evit-mobile runtimes install litert-latest compiled-model-latest tflite-runtime tensorflow"
        in done.stdout
    )


def test_list_as_json(tmp_path: Path) -> None:
    states = json.loads(_run(tmp_path, "--json").stdout)
    assert [state["name"] for state in states] == list(RUNTIMES)
    for state in states:
        assert state.keys() == {"name", "package", "version", "installed", "problem", "python", "path"}
        assert state["installed"] == (state["name"] in BUNDLED)
        assert state["installed"] == (state["problem"] is None)
    assert {state["name"]: state["version"] for state in states if state["name"] not in BUNDLED} == {
        "litert-latest": "2.3.0",
        "compiled-model-latest": "2.3.0",
        "tflite-runtime": "2.14.0",
        "tensorflow": "2.21.0",
    }


def test_litert_is_always_there(tmp_path: Path) -> None:
    done = _run(tmp_path, "install", "litert")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("litert: ai-edge-litert ")
    assert "is ready" in done.stdout


def test_an_unknown_name(tmp_path: Path) -> None:
    done = _run(tmp_path, "install", "tflite")
    assert done.returncode == 2
    assert "no runtime 'tflite'" in done.stderr
    assert "tflite-runtime" in done.stderr
    assert len(done.stderr.splitlines()) == 1
