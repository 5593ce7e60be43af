"""Our side of a worker: start it, call it with a time limit, and say what happened when it dies.

The runtime runs in another process, so an abort, a segmentation fault or a kill for lack of memory costs that process
alone and comes back as ``MachineError`` with the worker's last words.
"""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import threading
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO, Mapping, Sequence, cast

from evit_mobile.errors import MachineError
from evit_mobile.processes import CRASHES
from evit_mobile.runtimes import wire
from evit_mobile.runtimes.session import Array, OpInfo, TensorInfo

#: Longest wait for the answer to one call, seconds: far above any inference, so only a worker that hangs meets it.
TIMEOUT_S = 600.0

#: How much of the worker's standard error is read when it dies.
_TAIL_BYTES = 8192


class CallError(Exception):
    """The runtime raised an exception; ``kind`` is its class, the worker goes on."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class CrashError(MachineError):
    """The worker was ended by a signal that its own code caused; ``how`` is the signal's name and the worker's last
    words.
    """

    def __init__(self, label: str, how: str) -> None:
        super().__init__(f"{label} was ended by {how}")
        self.how = how


def runtime_command(python: Path, module: str, path: Sequence[str] = ()) -> list[str]:
    """What starts a worker that runs models.

    Args:
        python: the interpreter of the runtime's environment.
        module: the runtime's module that holds ``Interpreter`` or ``CompiledModel``.
        path: further folders in which the worker finds modules.
    """
    return [str(python), "-I", str(Path(__file__).with_name("worker.py")), module, *path]


class Worker:
    """A running worker process.

    Args:
        command: what starts it; see ``runtime_command``.
        label: what messages call it, e.g. ``tflite-runtime 2.14.0``.
        timeout_s: longest wait for one answer, seconds.
        variables: further environment variables.

    Raises:
        MachineError: the process cannot start, or what it is to run cannot be imported in it.
    """

    def __init__(
        self,
        command: Sequence[str],
        label: str,
        *,
        timeout_s: float = TIMEOUT_S,
        variables: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._label = label
        self._timeout_s = timeout_s
        self._timed_out = False
        self._errors = tempfile.TemporaryFile()
        try:
            # A session of its own: Ctrl-C reaches us alone, and we end the worker.
            self._process = subprocess.Popen(
                command,
                env={**os.environ, **variables},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                start_new_session=True,
            )
        except OSError as error:
            self._errors.close()
            raise MachineError(f"{label} cannot be started: {error.strerror}: {command[0]}") from error
        try:
            #: The worker's Python, as ``3.11.7``.
            self.python: str = self._exchange(None, (), timeout_s)[0]["python"]
        except CallError as error:
            self.kill()
            raise MachineError(f"{label} cannot be imported: {error}") from error
        except BaseException:
            self.kill()
            raise

    @property
    def pid(self) -> int:
        return self._process.pid

    def alive(self) -> bool:
        """Whether the process still runs."""
        return self._process.poll() is None

    def call(
        self, name: str, arrays: Sequence[Array] = (), /, *, timeout_s: float | None = None, **arguments: Any
    ) -> tuple[Any, list[Array]]:
        """Ask the worker for ``name``: the value and the arrays that it answers, within ``timeout_s``, or the worker's
        own limit.

        Raises:
            CallError: the runtime raised an exception.
            MachineError: the worker died or did not answer in time; it is gone.
        """
        return self._exchange({"call": name, **arguments}, arrays, timeout_s or self._timeout_s)

    def kill(self) -> None:
        """End the process, whatever it does, and close the pipes."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            try:
                stream.close()
            except BrokenPipeError:
                pass  # a request that was still buffered has nowhere to go
        self._errors.close()

    def _exchange(
        self, request: dict[str, Any] | None, arrays: Sequence[Array], timeout_s: float
    ) -> tuple[Any, list[Array]]:
        """Write a request (None: there is none, the worker speaks first) and read the reply, within the time limit."""
        watchdog = threading.Timer(timeout_s, self._expire)
        watchdog.daemon = True
        watchdog.start()
        try:
            if request is not None:
                wire.write(cast(BinaryIO, self._process.stdin), request, arrays)
            reply, results = wire.read(cast(BinaryIO, self._process.stdout))
        except (EOFError, BrokenPipeError) as error:
            death = self._death(timeout_s)
            self.kill()
            raise death from error
        except BaseException:
            # Interrupted between question and answer: the next answer would be to the wrong question.
            self.kill()
            raise
        finally:
            watchdog.cancel()
        if "error" in reply:
            raise CallError(reply["error"], reply["message"])
        return reply["value"], results

    def _expire(self) -> None:
        self._timed_out = True
        self._process.kill()

    def _death(self, timeout_s: float) -> MachineError:
        """Why the process is gone, in one line."""
        try:
            code = self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            return MachineError(f"{self._label} closed its pipes and did not end")
        if self._timed_out:
            return MachineError(f"{self._label} gave no answer within {timeout_s:g} s and was ended")
        words = self._last_words()
        last = f"; its last words: {words}" if words else ""
        if code >= 0:
            return MachineError(f"{self._label} ended with exit code {code}{last}")
        name = signal.Signals(-code).name
        if -code in CRASHES:
            return CrashError(self._label, name + last)
        hint = "the system does that when memory runs out" if code == -signal.SIGKILL else None
        return MachineError(f"{self._label} was ended by {name}{last}", hint=hint)

    def _last_words(self) -> str:
        """The last line of the worker's standard error that is more than information."""
        size = self._errors.seek(0, 2)
        self._errors.seek(max(0, size - _TAIL_BYTES))
        lines = [line.strip() for line in self._errors.read().decode(errors="replace").splitlines()]
        telling = [line for line in lines if line and not line.startswith(("INFO:", "I0000"))]
        return telling[-1][:500] if telling else ""


class WorkerSession:
    """A model that is open in a worker; the same methods as ``session.InterpreterSession``."""

    def __init__(self, worker: Worker, opened: dict[str, Any]) -> None:
        self._worker = worker
        self._ended = False
        self.inputs = [_tensor(info) for info in opened["inputs"]]
        self.outputs = [_tensor(info) for info in opened["outputs"]]
        self.init_us: float = opened["init_us"]
        self.fully_accelerated: bool | None = opened["fully_accelerated"]
        self._output_names: list[str] = opened["output_names"]

    def output_names(self) -> list[str]:
        return list(self._output_names)

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        return self._call("run", inputs)[1]

    def value(self, index: int) -> Array:
        """What a tensor holds after the last run, of a model that was opened to keep values."""
        return self._call("value", index=index)[1][0]

    def time_us(self, inputs: Sequence[Array], runs: int) -> list[float]:
        samples: list[float] = self._call("time_us", inputs, runs=runs)[0]
        return samples

    def calls_ns(
        self, inputs: Sequence[Array], since_ns: int, until_ns: int, period_ns: int | None = None, frame: int = 0
    ) -> Array:
        times = {"since_ns": since_ns, "until_ns": until_ns, "period_ns": period_ns, "frame": frame}
        return self._call("calls_ns", inputs, **times)[1][0]

    def ops(self) -> list[OpInfo]:
        return [
            OpInfo(op["index"], op["name"], tuple(op["inputs"]), tuple(op["outputs"])) for op in self._call("ops")[0]
        ]

    def tensors(self) -> list[TensorInfo]:
        return [_tensor(info) for info in self._call("tensors")[0]]

    def peak_memory_bytes(self) -> int | None:
        peak: int | None = self._call("peak_memory")[0]
        return peak

    def end(self) -> None:
        """Refuse all further calls: the worker goes on to another model."""
        self._ended = True

    def _call(self, name: str, arrays: Sequence[Array] = (), **arguments: Any) -> tuple[Any, list[Array]]:
        """Call the worker; an exception of the runtime comes out as it would in this process."""
        if self._ended:
            raise ValueError("the model was closed")
        try:
            return self._worker.call(name, arrays, **arguments)
        except CallError as error:
            if error.kind == "MemoryError":
                raise MemoryError(str(error)) from error
            raise (ValueError if error.kind in ("ValueError", "TypeError") else RuntimeError)(str(error)) from error


def _tensor(info: dict[str, Any]) -> TensorInfo:
    return TensorInfo(
        index=info["index"],
        name=info["name"],
        shape=tuple(info["shape"]),
        dtype=info["dtype"],
        scale=tuple(info["scale"]),
        zero_point=tuple(info["zero_point"]),
    )
