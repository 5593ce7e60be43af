"""Standard output and error that may be closed, full, or of an encoding without our characters."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any, TextIO


class Lossy:
    """A text stream that loses what cannot be written: a message must not change the exit code."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextlib.contextmanager
def tolerant_streams() -> Iterator[None]:
    """While the body runs, characters that a stream's encoding lacks are written as ``?``, and what stderr does not
    take is lost. What stdout has not taken by the end is lost too, so that Python does not fail for it on its way out.
    """
    error = sys.stderr
    for stream in (sys.stdout, error):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="replace")
    lossy: Any = Lossy(error)
    sys.stderr = lossy
    try:
        yield
    finally:
        try:
            sys.stdout.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        # One that is full stays lossy, for Python flushes it once more.
        with contextlib.suppress(OSError):
            error.flush()
            sys.stderr = error
