"""The lowering in a process that is forked from one that has loaded onnx2tf: hundreds of small graphs, without its
import for each.

Nothing else differs from ``converters.lowering.lower``: the process runs the same program on the same files.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Self
from unittest import mock

from converters.lowering import lower
from evit_mobile.processes import temporary_folder

_MODULES = ("onnx2tf.onnx2tf", "converters.lowering.op_by_op", "converters.lowering.worker", __name__)
_OUTPUT = "output.txt"


@contextlib.contextmanager
def forked_lowering() -> Iterator[None]:
    """Let ``convert`` lower by forked processes while the body runs."""
    with mock.patch.object(lower, "Lowering", ForkedLowering):
        yield


class ForkedLowering(lower.Lowering):
    """``Lowering`` whose process is forked."""

    def __enter__(self) -> Self:
        self._closing = contextlib.ExitStack()
        self._folder = self._closing.enter_context(temporary_folder())
        self._output = (self._folder / _OUTPUT).open("w+b")
        self._process: Any = _Process(["model.onnx", "out", *self._flags], self._folder)
        return self


class _Process:
    """As much of ``subprocess.Popen`` as the lowering asks for."""

    def __init__(self, arguments: Sequence[str], folder: Path) -> None:
        self._arguments = list(arguments), folder
        reading, writing = _context().Pipe(duplex=False)
        self._process: BaseProcess = _context().Process(target=_lower, args=(*self._arguments, reading), daemon=True)
        self._process.start()
        reading.close()
        self.stdin = os.fdopen(os.dup(writing.fileno()), "wb")
        writing.close()

    @property
    def returncode(self) -> int:
        code = self._process.exitcode
        assert code is not None
        return code

    def wait(self, timeout: float) -> int:
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired(self._arguments[0], timeout)
        return self.returncode

    def kill(self) -> None:
        self._process.kill()

    def communicate(self) -> None:
        with contextlib.suppress(BrokenPipeError):
            self.stdin.close()
        self._process.join()


@cache
def _context() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    main = getattr(sys.modules["__main__"], "__spec__", None)  # which a new process imports
    context.set_forkserver_preload([*_MODULES, *([main.name] if main is not None else [])])
    return context


def _lower(arguments: list[str], folder: Path, requests: Connection) -> None:
    """The lowering's program, in a forked process."""
    from converters.lowering import worker

    os.chdir(folder)
    output = os.open(_OUTPUT, os.O_WRONLY | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(output, stream)
    sys.stdin = os.fdopen(os.dup(requests.fileno()))
    sys.argv = ["worker", str(os.getppid()), *arguments]
    worker.main()
