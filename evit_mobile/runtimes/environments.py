"""Environments of their own for runtimes that cannot share ours: made on demand under the cache folder, pinned,
repaired when half-made.

An environment is complete when its marker file is there, and the marker is written last; it is built beside its place
under another name and renamed when whole. So an install that was killed leaves nothing that looks installed, and the
next one starts afresh.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Sequence

from evit_mobile.errors import MachineError
from evit_mobile.files import cache_folder, locked, whole_folder
from evit_mobile.runtimes import pythons
from evit_mobile.runtimes.client import Worker, runtime_command

#: Longest time for one step of an install, seconds: TensorFlow is a download of 600 MB.
INSTALL_TIMEOUT_S = 1800.0

_MARKER = "evit-mobile.json"


@dataclass(frozen=True)
class Environment:
    """A virtual environment that holds one pinned runtime.

    Attributes:
        name: the runtime's name, and the folder's.
        package, version: what is installed, pinned.
        module: the module that holds ``Interpreter`` or ``CompiledModel``.
        python: the Python that the package needs, as ``3.11``; None takes the one that runs evit-mobile.
    """

    name: str
    package: str
    version: str
    module: str
    python: str | None = None

    @property
    def label(self) -> str:
        return f"{self.package} {self.version}"

    @property
    def path(self) -> Path:
        return cache_folder("runtimes", lasting=True) / f"{self.name}-{self.version}"

    @property
    def interpreter(self) -> Path:
        return self.path / "bin" / "python"

    @property
    def lock(self) -> Path:
        """Every package of the environment with its exact version."""
        return Path(__file__).with_name(f"{self.name}.txt")

    def problem(self) -> str | None:
        """Why the environment cannot be used, in a few words; None where it can, as far as its files tell."""
        if not self.path.is_dir():
            return "not installed"
        marker = self._marker()
        if marker is None:
            return "half-made"
        if marker["lock"] != self._lock_digest():
            return "made from other versions"
        if not self.interpreter.exists():
            return f"its Python is gone: {os.path.realpath(self.interpreter)}"
        if not list(
            self.path.glob(f"lib/python*/site-packages/{self.package.replace('-', '_')}-{self.version}.dist-info")
        ):
            return f"{self.package} is gone from it"
        return None

    def python_version(self) -> str | None:
        """The Python in the environment, as ``3.11.7``; None where it is not installed."""
        if self.problem():
            return None
        marker = self._marker()
        return marker["python"] if marker is not None else None

    def _marker(self) -> dict[str, str] | None:
        """What was written when the environment was whole; None where it is not there, or is damaged."""
        try:
            marker = json.loads((self.path / _MARKER).read_text())
        except (OSError, ValueError, RecursionError):
            return None
        sound = isinstance(marker, dict) and all(isinstance(marker.get(key), str) for key in ("lock", "python"))
        return marker if sound else None

    def check(self) -> None:
        """Raise MachineError, saying what to do, unless the environment can be used."""
        problem = self.problem()
        if problem:
            raise MachineError(
                f"runtime {self.name} ({self.label}) cannot be used: {problem}",
                hint=f"run: evit-mobile runtimes install {self.name}",
            )

    def install(self, progress: Callable[[str], None] = lambda text: None) -> bool:
        """Make the environment unless it is there and its runtime starts; True when it was made.

        Raises:
            MachineError: no fitting Python, no network, a full disk, or the runtime does not start. Nothing half-made
                is left.
        """
        with locked(self.path.parent / f".{self.name}.lock"):
            if self.problem() is None and self._starts():
                return False
            with whole_folder(self.path) as building:
                self._build(building, progress)
        return True

    def _build(self, folder: Path, progress: Callable[[str], None]) -> None:
        """A whole environment in ``folder``, its marker written last."""
        python = folder / "bin" / "python"
        uv = pythons.find_uv()
        base = pythons.find_python(self.python, uv)
        progress(f"{self.label}: making an environment with Python {self.python or pythons.OURS}")
        if uv is not None:
            make: list[str] = [str(uv), "venv", "--quiet", "--allow-existing", "--python", str(base), str(folder)]
            fill = [str(uv), "pip", "install", "--quiet", "--python", str(python), "-r", str(self.lock)]
        else:
            make = [str(base), "-m", "venv", str(folder)]
            fill = [str(python), "-m", "pip", "install", "--quiet", "-r", str(self.lock)]
        self._step(make, folder)
        progress(f"{self.label}: downloading and installing")
        self._step(fill, folder)
        progress(f"{self.label}: starting it once")
        started = Worker(runtime_command(python, self.module), self.label)
        started.kill()
        marker = {
            "package": self.package,
            "version": self.version,
            "python": started.python,
            "lock": self._lock_digest(),
        }
        (folder / _MARKER).write_text(json.dumps(marker))

    def _step(self, command: Sequence[str], folder: Path) -> None:
        # In the new folder, so that no project's .python-version or uv.toml around the user has a say.
        environment = {
            key: value for key, value in os.environ.items() if key not in ("VIRTUAL_ENV", "PYTHONHOME", "PYTHONPATH")
        }
        environment["PIP_DISABLE_PIP_VERSION_CHECK"] = "1"  # its notice would be taken for the last words
        try:
            done = subprocess.run(
                command,
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=INSTALL_TIMEOUT_S,
            )
        except subprocess.TimeoutExpired as error:
            raise MachineError(
                f"{self.label} was not installed within {INSTALL_TIMEOUT_S:g} s", hint="is the network slow?"
            ) from error
        if done.returncode:
            lines = [
                line.strip()
                for line in (done.stderr or done.stdout).decode(errors="replace").splitlines()
                if line.strip()
            ]
            reason = lines[-1].removeprefix("cause:").strip() if lines else f"exit code {done.returncode}"
            raise MachineError(
                f"{self.label} cannot be installed: {reason}",
                hint=f"with a network and room on the disk, run again: evit-mobile runtimes install {self.name}",
            )

    def _starts(self) -> bool:
        try:
            Worker(runtime_command(self.interpreter, self.module), self.label).kill()
        except MachineError:
            return False
        return True

    def _lock_digest(self) -> str:
        return hashlib.sha256(self.lock.read_bytes()).hexdigest()
