"""Folders that are made once and verified by their hashes from then on."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path
from typing import Callable, Sequence

from evit_mobile.errors import MachineError
from evit_mobile.files import locked, whole_folder
from evit_mobile.weights import sha256_of

_MARKER = ".made.json"

#: Longest time for one command, seconds: downloads of some 15 MB.
TIMEOUT_S = 300.0


def ensure(folder: Path, key: str, make: Callable[[Path], None]) -> bool:
    """Make ``folder`` by ``make``, which fills an empty folder, unless it is there already; True if it was made.

    Args:
        key: everything that the content depends on; it is made again if the key differs, or if a file is gone or
            changed.

    Raises:
        MachineError: from ``make``; nothing half-made is left.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with locked(folder.with_name(f".{folder.name}.lock")):
        if is_whole(folder, key):
            return False
        with whole_folder(folder) as building:
            make(building)
            marker = {"key": _digest(key), "files": {path: sha256_of(building / path) for path in _files(building)}}
            (building / _MARKER).write_text(json.dumps(marker, indent=1))
    return True


def is_whole(folder: Path, key: str) -> bool:
    """Whether ``folder`` was made from ``key`` and no file that it was made with changed since; files added later do
    not count.
    """
    try:
        marker = json.loads((folder / _MARKER).read_text())
        return bool(marker["key"] == _digest(key)) and all(
            sha256_of(folder / name) == sha for name, sha in marker["files"].items()
        )
    except (OSError, ValueError, KeyError):
        return False


def fingerprint(folder: Path) -> str:
    """SHA-256 over the names and hashes of all files that a folder was made with."""
    return hashlib.sha256(
        json.dumps(json.loads((folder / _MARKER).read_text())["files"], sort_keys=True).encode()
    ).hexdigest()


def command(arguments: Sequence[str | Path], what: str, hint: str) -> str:
    """Run a program of this machine and give what it printed.

    Args:
        what: what it was for, in the words of an error: ``{what} failed: …``.

    Raises:
        MachineError: it is absent, failed, or took too long; in its own words.
    """
    try:
        done = subprocess.run(
            [str(argument) for argument in arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
        )
    except FileNotFoundError as error:
        raise MachineError(f"{what} failed: there is no {arguments[0]}", hint=hint) from error
    except subprocess.TimeoutExpired as error:
        raise MachineError(f"{what} failed: not done within {TIMEOUT_S:g} s", hint="is the network slow?") from error
    if done.returncode:
        raise MachineError(
            f"{what} failed: {_reason(done.stderr or done.stdout) or f'exit code {done.returncode}'}", hint=hint
        )
    return done.stdout


def _reason(printed: str) -> str:
    """What a failed program gave as the reason: its first line that calls itself an error, with the innermost cause;
    else the last.
    """
    lines = [line.strip() for line in printed.splitlines() if line.strip()]
    errors = [line for line in lines if line.lower().startswith(("e:", "error"))]
    causes = [line.partition(":")[2].strip() for line in lines if line.lower().startswith(("cause:", "caused by:"))]
    return ": ".join([*errors[:1], *causes[-1:]]) or (lines[-1] if lines else "")


def _files(folder: Path) -> list[str]:
    return sorted(
        str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and not path.is_symlink()
    )


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
