"""Finding uv and a Python of a given version on this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Iterator

from evit_mobile.errors import MachineError

#: The Python that runs evit-mobile, as ``3.12``.
OURS = f"{sys.version_info.major}.{sys.version_info.minor}"


def find_uv() -> Path | None:
    """uv beside our interpreter, where pip puts it, or on PATH; None if there is none."""
    beside = Path(sys.executable).with_name("uv")
    if beside.is_file():
        return beside
    program = shutil.which("uv")
    return Path(program) if program else None


def find_python(version: str | None, uv: Path | None) -> Path:
    """An interpreter of ``version`` (as ``3.11``; None: our own).

    Raises:
        MachineError: there is none, and uv could not fetch one.
    """
    if version is None or version == OURS:
        return Path(sys.executable)
    for candidate in _candidates(version):
        python = _fitting(candidate, version, makes_environments=uv is None)
        if python is not None:
            return python
    reason = "it is not on PATH and pyenv has none"
    if uv is not None:
        # uv knows its own downloads, and fetches one where the user's settings and the network let it.
        for command in (["python", "find", version], ["python", "install", version], ["python", "find", version]):
            done = subprocess.run(
                [str(uv), *command], capture_output=True, text=True, stdin=subprocess.DEVNULL, cwd="/"
            )
            if done.returncode == 0 and command[1] == "find":
                return Path(done.stdout.strip())
        reason += ", and uv could not fetch it"
    raise MachineError(
        f"Python {version} was not found: {reason}",
        hint=f"install it, e.g. by one of: apt install python{version}-venv, pyenv install {version}, uv python "
        f"install {version}",
    )


def _candidates(version: str) -> Iterator[Path]:
    # All of PATH, because the first may be pyenv's shim, which answers only where the folder selects that version.
    for folder in os.get_exec_path():
        program = shutil.which(f"python{version}", path=folder)
        if program:
            yield Path(program)
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    yield from sorted((pyenv / "versions").glob(f"{version}.*/bin/python{version}"), reverse=True)


def _fitting(python: Path, version: str, *, makes_environments: bool) -> Path | None:
    """The interpreter behind ``python``, if that is of ``version`` and can make environments where it must by itself.

    A shim leads to another interpreter, or none, in another folder; Debian packs what makes environments by itself.
    """
    needed = "import ensurepip, venv; " if makes_environments else ""
    try:
        done = subprocess.run(
            [
                str(python),
                "-I",
                "-c",
                f"{needed}import sys; print('%d.%d' % sys.version_info[:2]); print(sys.executable)",
            ],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=60,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = done.stdout.splitlines()
    return Path(lines[1]) if done.returncode == 0 and lines[0] == version else None
