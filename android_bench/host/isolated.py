"""The host's CPU with each round in a process of its own that has caps: what is too large or too slow ends there and
not here.

As on a phone, a round is one process. They are forked from a server that has the runtime loaded already, so that a
round costs no start of Python.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import re
import resource
import signal
import tempfile
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path

from android_bench.device import LimitError
from android_bench.host.device import Host, PreparedHost, affinity, parse_cores
from evit_mobile.errors import DeviceError, EvitMobileError
from evit_mobile.results.record import Round, RunSettings
from evit_mobile.runtimes import RUNTIMES, Runtime
from evit_mobile.runtimes.litert import LITERT_IN_PROCESS

#: What an allocator, the runtime or the kernel leaves behind when a model got no more memory.
_NO_MEMORY = re.compile(
    r"MemoryError|bad_alloc|cannot allocate|cannot map|failed to (re)?allocate|out.of.memory|returned NULL",
    re.IGNORECASE,
)

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["ai_edge_litert.interpreter", __name__])


class CappedHost(Host):
    """The device ``host`` for a suite.

    Args:
        runtime: the runtime that runs the models; it must be installed.
        memory_limit_bytes: by how much loading and running a model may raise its process's private memory.
        timeout_s: how long a round may take.
    """

    def __init__(self, runtime: Runtime, memory_limit_bytes: int, timeout_s: float) -> None:
        super().__init__(runtime)
        self._limit, self._timeout = memory_limit_bytes, timeout_s

    @contextlib.contextmanager
    def prepare(self, models: Sequence[Path], settings: RunSettings) -> Iterator[PreparedHost]:
        """See that the cores are there. No model is loaded here."""
        parse_cores(settings.cores)
        yield PreparedCappedHost(self.runtime, settings, self._limit, self._timeout)


class PreparedCappedHost(PreparedHost):
    """``host`` with every round in a process of its own; the arguments are those of ``CappedHost``."""

    def __init__(self, runtime: Runtime, settings: RunSettings, memory_limit_bytes: int, timeout_s: float) -> None:
        super().__init__(runtime, settings)
        self._limit, self._timeout = memory_limit_bytes, timeout_s

    def run(self, model: Path) -> Round:
        with tempfile.NamedTemporaryFile(mode="r", prefix="evit-mobile-", errors="replace") as errors:
            reader, writer = _CONTEXT.Pipe(duplex=False)
            arguments = (writer, errors.name, self._runtime.name, str(model), self._settings, self._limit)
            process = _CONTEXT.Process(target=_round, args=arguments, daemon=True)
            process.start()
            writer.close()
            try:
                if not reader.poll(self._timeout):
                    raise LimitError("timed out", f"a round did not end within {self._timeout:g} s")
                with contextlib.suppress(EOFError):
                    answer = reader.recv()
                    if isinstance(answer, Round):
                        return answer
                    raise _failure(model, str(answer), self._limit, None)
                process.join()
                raise _failure(model, errors.read(), self._limit, process.exitcode)
            finally:
                process.kill()
                process.join()
                reader.close()


def _failure(model: Path, message: str, limit_bytes: int, exit_code: int | None) -> DeviceError:
    """What became of a round without a result; ``message`` is the last that it wrote."""
    # The kernel's own killer leaves no word, and a null pointer none about memory.
    if exit_code == -signal.SIGKILL or _NO_MEMORY.search(message):
        return LimitError("does not fit", f"exceeded its memory limit of {limit_bytes / 1e6:,.0f} MB")
    lines = message.strip().splitlines()
    ending = signal.Signals(-exit_code).name if exit_code is not None and exit_code < 0 else f"exit code {exit_code}"
    reason = (
        lines[-1]
        if exit_code is None and lines
        else f"its process ended by {ending}" + (f": {lines[-1]}" if lines else "")
    )
    return DeviceError(f"{model.name} does not run: {reason}")


def _round(writer: Connection, stderr: str, runtime: str, model: str, settings: RunSettings, limit_bytes: int) -> None:
    """Runs in the process of the round; ``stderr`` is the path of the file that its messages go to."""
    os.dup2(os.open(stderr, os.O_WRONLY | os.O_APPEND), 2)
    # What Python and the libraries hold is ours, not the model's.
    own = re.search(r"^VmData:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    limit = limit_bytes + (int(own[1]) * 1024 if own else 0)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    try:
        with affinity(parse_cores(settings.cores)):
            here = LITERT_IN_PROCESS if runtime == LITERT_IN_PROCESS.name else RUNTIMES[runtime]
            writer.send(PreparedHost(here, settings).run(Path(model)))
    except MemoryError:
        writer.send("MemoryError")
    except EvitMobileError as error:
        writer.send(str(error))
