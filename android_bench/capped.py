"""The host's CPU with each round in a process of its own that has caps: what is too large or too slow ends there and not here.

As on a phone, a round is one process. ``python -m android_bench.capped`` is that process: a request on stdin, a round on stdout.
"""

from __future__ import annotations

import contextlib
import json
import re
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from pydantic import ValidationError

from android_bench.device import LimitError
from android_bench.host import Host, affinity, parse_cores
from evit_mobile.errors import DeviceError, RequestError
from evit_mobile.results.record import Round, RunSettings
from evit_mobile.runtimes import RUNTIMES, Runtime

#: What an allocator or the kernel leaves behind when a model got no more memory.
_NO_MEMORY = re.compile(r"MemoryError|bad_alloc|[Oo]ut of memory|out_of_memory|Cannot allocate memory|Failed to allocate")


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
    def prepare(self, models: Sequence[Path], settings: RunSettings) -> Iterator[None]:
        """Set the affinity of this thread, which the processes inherit. No model is loaded here."""
        with affinity(parse_cores(settings.cores)):
            yield

    def run(self, model: Path, settings: RunSettings) -> Round:
        request = {"runtime": self.runtime.name, "model": str(model), "settings": settings.model_dump(), "limit": self._limit}
        command = [sys.executable, "-m", "android_bench.capped"]
        try:
            done = subprocess.run(
                command, input=json.dumps(request), capture_output=True, text=True, errors="replace", timeout=self._timeout
            )
        except subprocess.TimeoutExpired as error:
            raise LimitError("timed out", f"a round did not end within {self._timeout:g} s") from error
        if done.returncode == 0:
            with contextlib.suppress(ValidationError):
                return Round.model_validate_json(done.stdout)
        # The kernel's own killer leaves no word.
        if done.returncode == -signal.SIGKILL or _NO_MEMORY.search(done.stderr):
            raise LimitError("does not fit", f"got no more memory than the {self._limit / 1e9:.2f} GB that it may use")
        said = done.stderr.strip().splitlines()
        reason = said[-1] if said else f"its process ended with {done.returncode}"
        raise DeviceError(f"{model.name} does not run: {reason}")


def _main() -> None:
    request = json.load(sys.stdin)
    runtime = RUNTIMES[request["runtime"]]
    host = Host(runtime)
    # The interpreter and the libraries are ours, not the model's.
    own = re.search(r"^VmData:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    limit = request["limit"] + (int(own[1]) * 1024 if own else 0)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    try:
        done = host.run(Path(request["model"]), RunSettings.model_validate(request["settings"]))
    except (DeviceError, RequestError) as error:
        sys.exit(str(error))
    print(done.model_dump_json(exclude_none=True))


if __name__ == "__main__":
    _main()
