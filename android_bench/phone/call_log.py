"""The log of calls that the runner writes while it runs, a line for each call; see ``calls.h`` of the emulator."""

from __future__ import annotations

import os
import re
import select
import subprocess
from dataclasses import dataclass, field
from typing import IO

import numpy as np
from numpy.typing import NDArray

#: Ends the script's output, with the program's exit code: without it the device went away.
END = "#ended"
_CALL = re.compile(r"(\d{1,18}) (\d{1,18})")
_HEAD = re.compile(r"CALLS(?: \d{1,18}){2,}")
_BYTES = 1 << 16
#: Lines that are kept of what is no call, for errors.
_MOST_WORDS = 500


@dataclass
class CallLog:
    """Reads the log as it grows.

    Attributes:
        process, errors: of ``Adb.start``.
        head: microseconds: loading, first inference, the other warm-up runs; empty before the line is there.
        words: what else was printed.
        exit_code: the program's, once it has ended.
        end_ns: when the latest call that was logged ended.
        is_over: nothing more will come. Without an exit code, the device went away.
    """

    process: subprocess.Popen[bytes]
    errors: IO[bytes]
    head: tuple[float, ...] = ()
    words: list[str] = field(default_factory=list)
    exit_code: int | None = None
    end_ns: int = 0
    is_over: bool = False
    _rest: bytes = b""
    _calls: list[tuple[int, int]] = field(default_factory=list)

    def await_head(self, timeout_s: float) -> None:
        """Read up to the first line of the log, or the end.

        Raises:
            TimeoutError: nothing was printed for so long.
        """
        while not self.head and not self.is_over:
            self._read(timeout_s)

    def until(self, end_ns: int, timeout_s: float) -> NDArray[np.int64]:
        """int64 [2, N]: start and duration of the calls that were logged since the last time, up to the first that
        ends after ``end_ns``, or up to the end.

        Raises:
            TimeoutError: nothing was printed for so long.
        """
        while self.end_ns < end_ns and not self.is_over:
            self._read(timeout_s)
        calls, self._calls = self._calls, []
        return np.array(calls, np.int64).reshape(-1, 2).T

    def complaints(self) -> str:
        """What the program wrote to stderr."""
        self.errors.seek(0)
        return self.errors.read(_BYTES).decode(errors="replace")

    def close(self) -> None:
        """Listen no more."""
        self.process.kill()
        self.process.communicate()
        self.errors.close()

    def _read(self, timeout_s: float) -> None:
        assert self.process.stdout is not None
        descriptor = self.process.stdout.fileno()
        if not select.select([descriptor], [], [], timeout_s)[0]:
            raise TimeoutError
        data = os.read(descriptor, _BYTES)
        if not data:
            self.is_over = True
            return
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._take(line.decode(errors="replace").strip())

    def _take(self, line: str) -> None:
        call = _CALL.fullmatch(line) if self.head else None
        if call is not None:
            start_ns, duration_ns = int(call[1]), int(call[2])
            self._calls.append((start_ns, duration_ns))
            self.end_ns = max(self.end_ns, start_ns + duration_ns)
        elif not self.head and _HEAD.fullmatch(line):
            self.head = tuple(float(value) for value in line.split()[1:])
        elif re.fullmatch(rf"{END} \d{{1,3}}", line):
            self.exit_code, self.is_over = int(line.split()[1]), True
        elif len(self.words) < _MOST_WORDS:
            self.words.append(line)
