"""LiteRT (ai-edge-litert): the runtime that is installed with evit-mobile, in a process of its own.

A file that makes it crash ends that process and not the user's.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import platform
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import Callable, Iterator

from evit_mobile.errors import CrashingFileError, MachineError, RequestError
from evit_mobile.runtimes.base import CONFIGURATIONS, Configuration, Runtime, RuntimeStatus, Session
from evit_mobile.runtimes.client import CallError, CrashError, Worker, WorkerSession, runtime_command
from evit_mobile.runtimes.pool import WorkerPool
from evit_mobile.runtimes.session import InterpreterSession
from evit_mobile.tflite.memory import allowance_of
from evit_mobile.tflite.versions import load_error

_PACKAGE = "ai-edge-litert"
#: Longest wait for one answer, seconds: hundreds of runs of a large model on TFLite's own kernels are one answer.
_TIMEOUT_S = 7200.0


class LiteRt:
    """LiteRT in a worker; one whose model was closed waits for the next, since starting it takes a quarter of a
    second.
    """

    name = "litert"
    configurations: tuple[Configuration, ...] = CONFIGURATIONS
    lists_ops = True
    #: Holds the API by which models are run.
    module = "ai_edge_litert.interpreter"

    def __init__(self) -> None:
        self._workers = WorkerPool(self._start)

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
    def open(
        self, model: Path, *, threads: int = 1, xnnpack: bool = True, signature: str | None = None
    ) -> Iterator[Session]:
        with self._opened(model, threads=threads, xnnpack=xnnpack, signature=signature) as session:
            yield session

    @contextmanager
    def open_with_values(self, model: Path) -> Iterator[WorkerSession]:
        """Load a model whose session has the ``value`` of every tensor: run by TFLite's own kernels, since a delegate
        keeps the values between its ops to itself.

        Raises:
            RequestError, MachineError: as ``open``.
        """
        with self._opened(model, threads=1, xnnpack=False, keep_values=True) as session:
            yield session

    @contextmanager
    def _opened(
        self, model: Path, *, threads: int, xnnpack: bool, keep_values: bool = False, signature: str | None = None
    ) -> Iterator[WorkerSession]:
        opened = self._workers.open(
            model,
            allowance_of(model),
            threads=threads,
            xnnpack=xnnpack,
            keep_values=keep_values,
            signature=signature,
        )
        try:
            with opened as session:
                yield session
        except CallError as error:
            raise _load_error(model, str(error) or error.kind) from error
        except CrashError as error:
            raise CrashingFileError(
                f"LiteRT crashed on {model}: {error.how}", hint="it is damaged, or LiteRT has a fault"
            ) from error

    def warm_up(self, count: int) -> None:
        """Have ``count`` workers ready, so that the next models need not wait for one to start."""
        self._workers.warm_up(count)

    def _start(self) -> Worker:
        # The worker's Python reads no PYTHONPATH: it is told where LiteRT and numpy are.
        specs = (importlib.util.find_spec(name) for name in ("ai_edge_litert", "numpy"))
        folders = {str(Path(spec.origin).parent.parent) for spec in specs if spec is not None and spec.origin}
        label = self.version() or self.name
        command = runtime_command(Path(sys.executable), self.module, sorted(folders))
        return Worker(command, label, timeout_s=_TIMEOUT_S)


class LiteRtInProcess(LiteRt):
    """LiteRT in this process, for processes that exist to run one model and may be lost."""

    @contextmanager
    def open(
        self, model: Path, *, threads: int = 1, xnnpack: bool = True, signature: str | None = None
    ) -> Iterator[Session]:
        from ai_edge_litert import interpreter

        allowance_of(model)  # a damaged file is refused
        try:
            session = InterpreterSession(interpreter, str(model), threads=threads, xnnpack=xnnpack, signature=signature)
        except (OSError, ValueError, RuntimeError) as error:
            raise _load_error(model, str(error) or type(error).__name__) from error
        yield session


class CompiledLiteRt(LiteRt):
    """The same package by its newer API, ``CompiledModel``. In this version that has no options."""

    name = "compiled-model"
    configurations = ((True, 1),)
    lists_ops = False
    module = "ai_edge_litert.compiled_model"

    def version(self) -> str | None:
        version = super().version()
        return f"{version} CompiledModel" if version else None


def _load_error(model: Path, reason: str) -> RequestError:
    version = _installed_version()
    return load_error(model, f"{_PACKAGE} {version}" if version else LiteRt.name, reason, None)


def _installed_version() -> str | None:
    try:
        return importlib.metadata.version(_PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        return None


LITERT = LiteRt()
COMPILED_MODEL: Runtime = CompiledLiteRt()
LITERT_IN_PROCESS: Runtime = LiteRtInProcess()
