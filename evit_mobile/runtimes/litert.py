"""LiteRT (ai-edge-litert) in this process: the runtime that is installed with evit-mobile."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import Callable, Iterator

from evit_mobile.errors import MachineError
from evit_mobile.runtimes.base import CONFIGURATIONS, Runtime, RuntimeStatus, Session
from evit_mobile.runtimes.session import InterpreterSession
from evit_mobile.tflite.flatbuffer import read_whole
from evit_mobile.tflite.versions import load_error

_PACKAGE = "ai-edge-litert"


class LiteRt:
    """In-process LiteRT."""

    name = "litert"
    configurations = CONFIGURATIONS

    def version(self) -> str | None:
        version = _installed_version()
        return f"{_PACKAGE} {version}" if version else None

    def status(self) -> RuntimeStatus:
        version = _installed_version()
        return RuntimeStatus(
            name=self.name,
            package=_PACKAGE,
            version=version or "",
            installed=version is not None,
            problem=None if version else "not installed",
            python=platform.python_version(),
            path=sys.prefix,
        )

    def install(self, progress: Callable[[str], None] = lambda text: None) -> bool:
        if _installed_version() is None:
            raise MachineError(
                f"{_PACKAGE} is missing, although evit-mobile depends on it", hint="install evit-mobile again"
            )
        return False

    @contextmanager
    def open(self, model: Path, *, threads: int = 1, xnnpack: bool = True) -> Iterator[Session]:
        from ai_edge_litert import interpreter

        try:
            with _silent():
                session = InterpreterSession(interpreter, str(model), threads=threads, xnnpack=xnnpack)
        except (OSError, ValueError, RuntimeError) as error:
            read_whole(model)  # says it better where the file itself is at fault
            raise load_error(model, self.version() or self.name, str(error) or type(error).__name__, None) from error
        yield session


@contextmanager
def _silent() -> Iterator[None]:
    """What the runtime's own code prints on stderr goes nowhere: that the delegate was created, and errors that it raises too."""
    before = os.dup(2)
    try:
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(before, 2)
        os.close(before)


def _installed_version() -> str | None:
    try:
        return importlib.metadata.version(_PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        return None


LITERT: Runtime = LiteRt()
