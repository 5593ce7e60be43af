"""Runtimes that run in an environment of their own, through a worker: the newest LiteRT by both of its APIs,
tflite-runtime and TensorFlow.

A further one is an entry here, its lock beside (``NAME.txt``), and its place in ``RUNTIMES``.
"""

from __future__ import annotations

import dataclasses
from contextlib import contextmanager
from pathlib import Path
from typing import Callable, Iterator

from evit_mobile.errors import MachineError
from evit_mobile.runtimes.base import CONFIGURATIONS, Runtime, RuntimeStatus, Session
from evit_mobile.runtimes.client import TIMEOUT_S, CallError, Worker, runtime_command
from evit_mobile.runtimes.environments import Environment
from evit_mobile.runtimes.pool import WorkerPool
from evit_mobile.tflite.memory import allowance_of
from evit_mobile.tflite.versions import load_error


class ForeignRuntime:
    """A runtime in an environment of its own.

    A worker whose model was closed waits for the next one, because TensorFlow alone takes seconds to import; idle
    workers end with this process.

    Args:
        environment: where it is installed; its module is what runs models.
        name: of the runtime; None takes the environment's.
        tflite_version: the TFLite release that its kernels belong to, where the table of op versions knows it.
        timeout_s: longest wait for one answer of a worker, seconds.
    """

    configurations = CONFIGURATIONS

    lists_ops = True

    def __init__(
        self,
        environment: Environment,
        name: str | None = None,
        *,
        tflite_version: str | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self.environment = environment
        self.name = name or environment.name
        self._tflite_version = tflite_version
        self._timeout_s = timeout_s
        self._workers = WorkerPool(self._start)

    def version(self) -> str | None:
        return None if self.environment.problem() else self.environment.label

    def status(self) -> RuntimeStatus:
        environment = self.environment
        problem = environment.problem()
        return RuntimeStatus(
            name=self.name,
            package=environment.package,
            version=environment.version,
            installed=problem is None,
            problem=problem,
            python=environment.python_version() or environment.python,
            path=str(environment.path),
        )

    def install(self, progress: Callable[[str], None] = lambda text: None) -> bool:
        self.close()
        return self.environment.install(progress)

    @contextmanager
    def open(
        self, model: Path, *, threads: int = 1, xnnpack: bool = True, signature: str | None = None
    ) -> Iterator[Session]:
        self.environment.check()
        opened = self._workers.open(model, allowance_of(model), threads=threads, xnnpack=xnnpack, signature=signature)
        try:
            with opened as session:
                yield session
        except CallError as error:
            raise load_error(model, self.environment.label, str(error) or error.kind, self._tflite_version) from error

    def close(self) -> None:
        """End the idle workers."""
        self._workers.close()

    def _start(self) -> Worker:
        environment = self.environment
        try:
            command = runtime_command(environment.interpreter, environment.module)
            return Worker(command, environment.label, timeout_s=self._timeout_s)
        except MachineError as error:
            raise MachineError(error.message, hint=f"repair it: evit-mobile runtimes install {self.name}") from error


class CompiledForeignRuntime(ForeignRuntime):
    """LiteRT in an environment of its own by its newer API, ``CompiledModel``."""

    lists_ops = False

    def version(self) -> str | None:
        version = super().version()
        return f"{version} CompiledModel" if version else None


_LATEST = Environment("litert-latest", package="ai-edge-litert", version="2.3.0", module="ai_edge_litert.interpreter")
LITERT_LATEST: Runtime = ForeignRuntime(_LATEST)
COMPILED_MODEL_LATEST: Runtime = CompiledForeignRuntime(
    dataclasses.replace(_LATEST, module="ai_edge_litert.compiled_model"), "compiled-model-latest"
)
TFLITE_RUNTIME: Runtime = ForeignRuntime(
    Environment(
        "tflite-runtime", package="tflite-runtime", version="2.14.0", module="tflite_runtime.interpreter", python="3.11"
    ),
    tflite_version="2.14.0",
)
TENSORFLOW: Runtime = ForeignRuntime(
    Environment("tensorflow", package="tensorflow", version="2.21.0", module="tensorflow.lite.python.interpreter"),
    tflite_version="2.21.0",
)
