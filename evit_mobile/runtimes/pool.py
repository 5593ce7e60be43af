"""Workers that wait for the next model, so that a runtime is imported once for many models."""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from evit_mobile.errors import MachineError
from evit_mobile.runtimes.client import CallError, Worker, WorkerSession


class WorkerPool:
    """The workers of one runtime. Idle ones end with this process.

    Args:
        start: starts a worker.
    """

    def __init__(self, start: Callable[[], Worker]) -> None:
        self._start = start
        self._idle: list[Worker] = []
        self._owner = os.getpid()
        self._ending = False
        atexit.register(self._end)

    @contextmanager
    def open(
        self,
        model: Path,
        memory_bytes: int,
        *,
        threads: int,
        xnnpack: bool,
        keep_values: bool = False,
        signature: str | None = None,
    ) -> Iterator[WorkerSession]:
        """Load a model in a worker that no other model uses, and that may take ``memory_bytes`` for it; leaving the
        context frees it. See ``InterpreterSession``.

        Raises:
            CallError: the runtime refuses the model.
            MachineError: no worker can be started, or it died.
        """
        with self.borrow() as worker:
            cores = sorted(os.sched_getaffinity(0))  # an idle worker has those of the time when it was started
            path = str(model.absolute())
            opened, _ = worker.call(
                "open",
                model=path,
                memory_bytes=memory_bytes,
                threads=threads,
                xnnpack=xnnpack,
                keep_values=keep_values,
                signature=signature,
                cores=cores,
            )
            session = WorkerSession(worker, opened)
            try:
                yield session
            finally:
                session.end()

    @contextmanager
    def borrow(self) -> Iterator[Worker]:
        """A worker that nobody else uses; what it has open is closed afterwards.

        Raises:
            MachineError: no worker can be started.
        """
        worker = self.take()
        try:
            yield worker
        finally:
            self.put_back(worker)

    def warm_up(self, count: int) -> None:
        """Start idle workers until there are ``count``.

        Raises:
            MachineError: no worker can be started.
        """
        workers = [self.take() for _ in range(count)]
        for worker in workers:
            self.put_back(worker)

    def close(self) -> None:
        """End the idle workers."""
        while self._idle:
            worker = self._idle.pop()
            if self._owner == os.getpid():
                worker.kill()

    def _end(self) -> None:
        self._ending = True
        self.close()

    def take(self) -> Worker:
        """A worker for the caller alone, until ``put_back``."""
        if self._owner != os.getpid():  # we are a fork: the workers answer to another
            self.close()
            self._owner = os.getpid()
        while self._idle:
            worker = self._idle.pop()
            if worker.alive():
                return worker
            worker.kill()
        return self._start()

    def put_back(self, worker: Worker) -> None:
        """Let the next one have a worker; one that died is forgotten."""
        if not worker.alive():
            return
        if self._ending:  # nothing can be asked any more: Python starts no watchdog now
            worker.kill()
            return
        try:
            worker.call("close")
        except (CallError, MachineError):
            worker.kill()
        else:
            self._idle.append(worker)
