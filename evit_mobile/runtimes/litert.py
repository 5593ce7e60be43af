"""LiteRT (ai-edge-litert) in this process: the runtime that is installed with evit-mobile."""

from __future__ import annotations

import importlib.metadata
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator

from evit_mobile.errors import RequestError
from evit_mobile.runtimes.base import Runtime, Session
from evit_mobile.runtimes.session import InterpreterSession


class LiteRt:
    """In-process LiteRT."""

    name = "litert"

    def version(self) -> str | None:
        try:
            return f"ai-edge-litert {importlib.metadata.version('ai-edge-litert')}"
        except importlib.metadata.PackageNotFoundError:
            return None

    @contextmanager
    def open(self, model: Path, *, threads: int = 1, xnnpack: bool = True) -> Iterator[Session]:
        from ai_edge_litert import interpreter

        try:
            session = InterpreterSession(interpreter, str(model), threads=threads, xnnpack=xnnpack)
        except (OSError, ValueError, RuntimeError) as error:
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise RequestError(f"{model} cannot be loaded by {self.version()}: {reason}") from error
        yield session


LITERT: Runtime = LiteRt()
