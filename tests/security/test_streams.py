"""Streams that are closed, full or of another encoding change no exit code; a signal is heard whatever swallows it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

COMMAND = f"{sys.executable} -m evit_mobile.cli.main"


def _shell(script: str, **variables: str) -> subprocess.CompletedProcess[bytes]:
    """Run a line of bash in which any part of a pipe that fails is the exit code."""
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", script], env={**os.environ, **variables}, capture_output=True, check=False
    )


@pytest.mark.parametrize("arguments", ["models", "models --json", "--help", "convert --help"])
def test_a_reader_that_leaves(arguments: str) -> None:
    done = _shell(f"{COMMAND} {arguments} | true")
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize(("arguments", "code"), [("models", 0), ("inspect nowhere.tflite", 2), ("models --no-such", 2)])
def test_standard_error_that_is_full(arguments: str, code: int) -> None:
    assert _shell(f"{COMMAND} {arguments} 2>/dev/full").returncode == code


def test_standard_output_that_is_full() -> None:
    done = _shell(f"{COMMAND} models >/dev/full")
    (line,) = done.stderr.splitlines()
    assert done.returncode == 4 and b"no space left" in line


@pytest.mark.parametrize("encoding", ["latin-1", "ascii"])
def test_an_encoding_without_our_characters(encoding: str) -> None:
    done = _shell(f"{COMMAND} models; {COMMAND} inspect nów–here.tflite", PYTHONIOENCODING=encoding)
    assert done.returncode == 2 and b"base-r224" in done.stdout and done.stderr.startswith(b"error: n")


def test_a_result_whose_name_is_not_utf_8(tmp_path: Path) -> None:
    done = _shell(f"cd {tmp_path} && {COMMAND} bench --device host --model base-r192 --out $'\\xff.json'")
    assert done.returncode == 2 and b"not UTF-8" in done.stderr and not list(tmp_path.iterdir())


#: A program that swallows the first exception, as a library's import may, and then cleans up in a second.
SWALLOWING = """
import sys, time
from evit_mobile.processes import ending_signals
with ending_signals():
    try:
        print("ready", flush=True)
        time.sleep(60)
    except BaseException:
        pass
    try:
        time.sleep(60)
    finally:
        try:
            raise ValueError
        except ValueError:
            time.sleep(1)
        print("cleaned up", flush=True)
"""


@contextlib.contextmanager
def ready(code: str, sign: signal.Signals, *folders: Path) -> Iterator[subprocess.Popen[str]]:
    """A program that has said that it is ready, for which ``sign`` is not ignored; it may import from ``folders``."""
    with subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([*map(str, folders), *sys.path])} if folders else None,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(sign, signal.SIG_DFL) if sign != signal.SIGINT else None,
    ) as program:
        assert program.stdout is not None and program.stdout.readline() == "ready\n"
        yield program


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_whose_exception_is_swallowed(sign: signal.Signals) -> None:
    with ready(SWALLOWING, sign) as program:
        started = time.monotonic()
        program.send_signal(sign)
        out, err = program.communicate(timeout=60)
    assert time.monotonic() - started < 50 and out == "cleaned up\n" and program.returncode != 0, err


#: A module whose import takes the given seconds, and aborts at an exception as C++ without a handler does.
INITIALISED = """
import os, time
try:
    print("ready", flush=True)
    time.sleep({seconds})
except BaseException:
    {at_an_exception}
"""
#: A program that imports it, and then works.
IMPORTING = """
import sys, time
from evit_mobile import processes
processes._IMPORT_S = {patience}
with processes.ending_signals():
    try:
        import initialised
        time.sleep(60)
    finally:
        print("cleaned up", flush=True)
"""


@pytest.mark.parametrize(
    ("sign", "presses", "seconds", "patience", "at_an_exception"),
    [
        pytest.param(signal.SIGINT, 1, 1, 1000, "os.abort()", id="Ctrl-C-waits"),
        pytest.param(signal.SIGTERM, 2, 1, 1000, "os.abort()", id="SIGTERM-waits"),
        pytest.param(signal.SIGHUP, 2, 1, 1000, "os.abort()", id="SIGHUP-waits"),
        pytest.param(signal.SIGINT, 2, 60, 1000, "raise", id="Ctrl-C-again-does-not"),
        pytest.param(signal.SIGTERM, 1, 60, 0.2, "raise", id="no-longer-than-its-patience"),
    ],
)
def test_a_signal_while_a_module_is_imported(
    tmp_path: Path, sign: signal.Signals, presses: int, seconds: float, patience: float, at_an_exception: str
) -> None:
    (tmp_path / "initialised.py").write_text(INITIALISED.format(seconds=seconds, at_an_exception=at_an_exception))
    # Imported itself: what imports the command line is not what it imports.
    (tmp_path / "importing.py").write_text(IMPORTING.format(patience=patience))
    with ready("import importing", sign, tmp_path) as program:
        started = time.monotonic()
        for _ in range(presses):
            program.send_signal(sign)
            time.sleep(0.1)
        out, err = program.communicate(timeout=60)
    assert time.monotonic() - started < 50 and out == "cleaned up\n"
    assert program.returncode not in (0, -signal.SIGABRT) and (sign.name in err or "KeyboardInterrupt" in err)
