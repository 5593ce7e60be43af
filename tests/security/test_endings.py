"""Whatever ends a conversion, its children end with it and no folder stays."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from evit_mobile.processes import PREFIX, temporary_folder

CONVERT = ["convert", "--model", "base-r224"]
SUITE = ["bench", "--device", "host", "--suite", "smoke"]


def _lowers(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return "converters.lowering.worker" in process.cmdline()
    return False


@pytest.mark.parametrize(
    ("arguments", "sign"),
    [
        (CONVERT, signal.SIGTERM),
        (CONVERT, signal.SIGHUP),
        (CONVERT, signal.SIGKILL),
        (SUITE, signal.SIGTERM),
        (SUITE, signal.SIGKILL),
    ],
)
def test_a_conversion_that_is_ended(tmp_path: Path, arguments: list[str], sign: signal.Signals) -> None:
    folder = tmp_path / "tmp"
    folder.mkdir()
    out = tmp_path / "out"
    command = [sys.executable, "-m", "evit_mobile.cli.main", *arguments, "--out", str(out)]
    environment = {**os.environ, "TMPDIR": str(folder), "EVIT_MOBILE_CACHE": str(tmp_path / "cache")}
    # SIGHUP may be ignored where the tests run; what is ignored stays so.
    with subprocess.Popen(
        command,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(sign, signal.SIG_DFL) if sign is not signal.SIGKILL else None,
    ) as conversion:
        parent = psutil.Process(conversion.pid)
        deadline = time.monotonic() + 120
        while not any(map(_lowers, parent.children(recursive=True))):
            assert conversion.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
        time.sleep(1)
        children = parent.children(recursive=True)
        conversion.send_signal(sign)
        _, err = conversion.communicate(timeout=120)
    gone, alive = psutil.wait_procs(children, timeout=30)
    assert not alive and not out.exists()
    if sign is not signal.SIGKILL:
        assert conversion.returncode == 128 + sign, err
        assert f"ended by {sign.name}" in err and "Traceback" not in err
        assert not list(folder.glob("evit-mobile-*"))


def test_folders_that_were_left_behind_are_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that another process holds, and one that is not ours by name, stay."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    holder = (
        "import sys\nfrom evit_mobile.processes import temporary_folder\n"
        "with temporary_folder() as folder:\n    print(folder, flush=True)\n    sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", holder],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdin is not None and other.stdout is not None
        held = Path(other.stdout.readline().strip())
        stale, link, new, unlocked = (f"{PREFIX}stale", f"{PREFIX}link", f"{PREFIX}new", "evit-mobile-in-use")
        for name in (stale, "somebody-else", unlocked):
            (tmp_path / name).mkdir()
            (tmp_path / name / "model.onnx").write_text("")
        (tmp_path / link).symlink_to(tmp_path / "somebody-else")
        (tmp_path / new).mkdir()
        for name in (stale, "somebody-else", unlocked, held.name):
            os.utime(tmp_path / name, (0, 0))
        os.utime(tmp_path / link, (0, 0), follow_symlinks=False)
        with temporary_folder() as ours:
            assert ours.is_dir() and held.is_dir() and (tmp_path / "somebody-else" / "model.onnx").exists()
            assert not (tmp_path / stale).exists() and (tmp_path / new).exists()
            assert (tmp_path / unlocked).is_dir()  # of another release, or of a stage that holds no lock
        other.stdin.close()
    assert not ours.exists() and not held.exists()
