"""Installing a runtime into an empty cache, over a broken one, and where it cannot be done: by the real tools."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from evit_mobile.errors import MachineError
from evit_mobile.runtimes import RUNTIMES, Runtime
from evit_mobile.runtimes.foreign import ForeignRuntime
from evit_mobile.runtimes.pythons import find_python, find_uv

pytestmark = pytest.mark.timeout(900)  # the first use of a runtime downloads and installs it

NAME = "tflite-runtime"  # the smallest, and the one that needs another Python
COMMAND = [sys.executable, "-m", "evit_mobile.cli.main", "runtimes"]

needs_uv = pytest.mark.skipif(find_uv() is None and os.environ.get("CI") != "true", reason="uv is not on this machine")


@pytest.fixture
def runtime(installed: Callable[[str], Runtime], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ForeignRuntime:
    """tflite-runtime with an empty cache, on a machine that can install it."""
    installed(NAME)
    monkeypatch.setenv("EVIT_MOBILE_CACHE", str(tmp_path))
    runtime = RUNTIMES[NAME]
    assert isinstance(runtime, ForeignRuntime)
    return ForeignRuntime(runtime.environment)


def _left(folder: Path) -> list[str]:
    """What is in the cache, lock files apart."""
    return sorted(path.name for path in (folder / "runtimes").iterdir() if not path.name.endswith(".lock"))


def _install(cache: Path, *names: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, "install", *(names or [NAME])],
        env={**os.environ, "EVIT_MOBILE_CACHE": str(cache), **environment},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        cwd=cache,
    )


def _one_line(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 4
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    return line


def test_missing_then_installed_then_kept(runtime: ForeignRuntime, addition: Path, tmp_path: Path) -> None:
    assert runtime.version() is None
    assert (runtime.status().installed, runtime.status().problem) == (False, "not installed")
    with (
        pytest.raises(MachineError, match=f"not installed .*evit-mobile runtimes install {NAME}"),
        runtime.open(addition),
    ):
        pass
    steps: list[str] = []
    assert runtime.install(steps.append)
    assert any("Python 3.11" in step for step in steps)
    assert _left(tmp_path) == ["tflite-runtime-2.14.0"]
    assert runtime.version() == "tflite-runtime 2.14.0"
    assert (runtime.status().python or "").startswith("3.11.")
    assert not runtime.install()  # nothing to do
    with runtime.open(addition) as session:
        assert session.output_names() == ["y"]
    runtime.close()


@pytest.mark.parametrize(
    "damage", ["no marker", "broken marker", "other lock", "no python", "no package", "package without its library"]
)
def test_half_made_is_told_and_repaired(runtime: ForeignRuntime, addition: Path, tmp_path: Path, damage: str) -> None:
    assert runtime.install()
    home = runtime.environment.path
    site = next(home.glob("lib/python*/site-packages"))
    marker = home / "evit-mobile.json"
    if damage == "no marker":
        marker.unlink()
    elif damage == "broken marker":
        marker.write_text(marker.read_text()[:20])
    elif damage == "other lock":
        marker.write_text(marker.read_text().replace('"lock": "', '"lock": "0'))
    elif damage == "no python":
        (home / "bin" / "python").unlink()
    elif damage == "no package":
        shutil.rmtree(site / "tflite_runtime-2.14.0.dist-info")
    else:
        for library in site.glob("tflite_runtime/*.so"):
            library.unlink()
    with (
        pytest.raises(MachineError, match="evit-mobile runtimes install tflite-runtime") as caught,
        runtime.open(addition),
    ):
        pass
    assert "\n" not in str(caught.value)
    assert runtime.install()
    assert _left(tmp_path) == ["tflite-runtime-2.14.0"]
    with runtime.open(addition):
        pass
    runtime.close()


@needs_uv
def test_a_killed_install_leaves_nothing_that_looks_installed(runtime: ForeignRuntime, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*COMMAND, "install", NAME], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("runtimes/.building-*/lib")):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert runtime.status().problem == "not installed"
    assert runtime.install()
    assert _left(tmp_path) == ["tflite-runtime-2.14.0"]


@needs_uv
def test_no_network(runtime: ForeignRuntime, tmp_path: Path) -> None:
    """A proxy that refuses, and an empty package cache."""
    nowhere = "http://127.0.0.1:9"
    done = _install(
        tmp_path,
        UV_CACHE_DIR=str(tmp_path / "uv"),
        UV_HTTP_RETRIES="0",
        HTTPS_PROXY=nowhere,
        HTTP_PROXY=nowhere,
        ALL_PROXY=nowhere,
    )
    line = _one_line(done)
    assert "tflite-runtime 2.14.0 cannot be installed: " in line
    assert "network" in line
    assert _left(tmp_path) == []


def test_no_python_of_that_version(runtime: ForeignRuntime, tmp_path: Path) -> None:
    """An empty PATH and home: neither a python3.11 nor pyenv's, and uv may not download one."""
    line = _one_line(
        _install(
            tmp_path, PATH=str(tmp_path), HOME=str(tmp_path), PYENV_ROOT=str(tmp_path), UV_PYTHON_DOWNLOADS="never"
        )
    )
    assert "Python 3.11 was not found" in line
    assert "pyenv install 3.11" in line
    assert _left(tmp_path) == []


def test_one_that_fails_does_not_stop_the_others(runtime: ForeignRuntime, tmp_path: Path) -> None:
    nowhere = {
        "PATH": str(tmp_path),
        "HOME": str(tmp_path),
        "PYENV_ROOT": str(tmp_path),
        "UV_PYTHON_DOWNLOADS": "never",
    }
    done = _install(tmp_path, NAME, "litert", **nowhere)
    assert done.returncode == 4
    assert "Python 3.11 was not found" in done.stderr
    assert "litert: ai-edge-litert" in done.stdout


def test_without_uv_pip_does_it(
    runtime: ForeignRuntime, addition: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A PATH that holds Python 3.11 and no uv."""
    try:
        python = os.path.realpath(find_python("3.11", None))
    except MachineError:
        pytest.skip("no Python 3.11 of this machine can make environments by itself")
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "python3.11").symlink_to(python)
    monkeypatch.setenv("PATH", str(tools))
    if find_uv() is not None:
        pytest.skip("uv stands beside this Python")
    assert runtime.install()
    with runtime.open(addition):
        pass
    runtime.close()


def test_two_at_once_make_one(runtime: ForeignRuntime, tmp_path: Path) -> None:
    environment = {**os.environ, "EVIT_MOBILE_CACHE": str(tmp_path)}
    both = [
        subprocess.Popen(
            [*COMMAND, "install", NAME], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        for _ in range(2)
    ]
    said = sorted(process.communicate(timeout=120)[0] for process in both)
    assert [process.returncode for process in both] == [0, 0]
    assert "tflite-runtime 2.14.0 installed" in said[0]
    assert "tflite-runtime 2.14.0 is ready" in said[1]
    assert _left(tmp_path) == ["tflite-runtime-2.14.0"]


def test_an_unwritable_cache(runtime: ForeignRuntime, tmp_path: Path) -> None:
    (tmp_path / "runtimes").write_text("a file where the folder should be")
    assert "runtimes" in _one_line(_install(tmp_path))
