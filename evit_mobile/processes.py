"""Processes that end together, and folders that do not outlive them."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType

#: Begins the name of every folder of ``temporary_folder``, and of no other: what is swept has to be held by a lock
#: while it is in use.
PREFIX = "evit-mobile-held-"
#: A folder younger than this may not be locked yet, seconds.
_SETTLED_S = 60.0
_PR_SET_PDEATHSIG = 1
#: How long an exception of a signal may take to be heard before the signal is sent again, seconds.
_INSIST_S = 0.3
#: How long a signal may wait for an import to end, seconds: PyTorch's takes ten where other work runs beside it.
_IMPORT_S = 20.0
#: Signals that a program's own faults end it by.
CRASHES = {signal.SIGSEGV, signal.SIGABRT, signal.SIGFPE, signal.SIGBUS, signal.SIGILL, signal.SIGTRAP, signal.SIGSYS}


class EndedError(KeyboardInterrupt):
    """SIGTERM or SIGHUP came: like Ctrl-C, everything on the way out is cleaned up."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_code = 128 + number


@contextlib.contextmanager
def ending_signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP raise ``EndedError`` in the body, and SIGINT KeyboardInterrupt, until they are heard; one
    that is ignored, as under nohup, stays ignored.

    A signal waits while the body imports modules: some extensions' C++ calls Python while it is initialised, and an
    exception from there aborts the process. Ctrl-C pressed again does not wait.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    ending = _Ending(sys._getframe())
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, ending.hear)
    try:
        yield
    finally:
        ending.left.set()
        for number, handler in before.items():
            signal.signal(number, handler)


class _Ending:
    """What the signals do within ``ending_signals``, which was entered from ``frame``; ``left`` is set at its end."""

    def __init__(self, frame: FrameType) -> None:
        self.left = threading.Event()
        self._imports_outside = _imports(frame)
        self._first_heard: dict[int, float] = {}
        self._sent_again: set[int] = set()

    def hear(self, number: int, frame: FrameType | None) -> None:
        """Raise the signal's exception, now or when it is sent again."""
        now = time.monotonic()
        pressed_again = number == signal.SIGINT and number in self._first_heard and number not in self._sent_again
        waited = now - self._first_heard.setdefault(number, now)
        self._sent_again.discard(number)
        threading.Thread(target=self._insist, args=(number,), daemon=True).start()
        if _imports(frame) > self._imports_outside and waited < _IMPORT_S and not pressed_again:
            return
        raise KeyboardInterrupt if number == signal.SIGINT else EndedError(number)

    def _insist(self, number: int) -> None:
        """Send the signal again where it had to wait, or its exception was swallowed, as by some libraries' imports.

        While the main thread cleans up on the way out, the exception is the one it handles, or that one's context; in a
        generator that is closed it is GeneratorExit.
        """
        main = threading.main_thread().ident
        while not self.left.wait(_INSIST_S):
            error = sys._current_exceptions().get(main or 0)
            while error is not None and not isinstance(error, (KeyboardInterrupt, GeneratorExit)):
                error = error.__context__
            if error is None:
                self._sent_again.add(number)
                os.kill(os.getpid(), number)
                return


def _imports(frame: FrameType | None) -> int:
    """How many of the import system's own frames ``frame`` was called by."""
    count = 0
    while frame is not None:
        count += frame.f_code.co_filename.startswith("<frozen importlib._bootstrap")
        frame = frame.f_back
    return count


class OutputLimitError(Exception):
    """A program printed more than it may."""


def run_bounded(
    command: Sequence[str], *, timeout_s: float, limit_bytes: int, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run a program without input, and give what it printed, whatever its exit code.

    Raises:
        subprocess.TimeoutExpired: it did not end in time, and was killed. OutputLimitError: it printed more than
            ``limit_bytes`` on one of its streams, and was killed. OSError: it cannot be executed.
    """
    printed: tuple[bytearray, bytearray] = (bytearray(), bytearray())
    deadline = time.monotonic() + timeout_s
    with (
        subprocess.Popen(
            command, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process,
        selectors.DefaultSelector() as selector,
    ):
        try:
            for stream, content in zip((process.stdout, process.stderr), printed):
                assert stream is not None
                selector.register(stream, selectors.EVENT_READ, content)
            while selector.get_map():
                ready = selector.select(max(0.0, deadline - time.monotonic()))
                if not ready:
                    raise subprocess.TimeoutExpired(command, timeout_s)
                for key, _ in ready:
                    part = os.read(key.fd, 2**16)
                    if not part:
                        selector.unregister(key.fileobj)
                    key.data.extend(part)
                    if len(key.data) > limit_bytes:
                        raise OutputLimitError(f"it printed more than {limit_bytes} bytes")
            process.wait(max(0.0, deadline - time.monotonic()))
        except BaseException:
            process.kill()
            raise
    return subprocess.CompletedProcess(list(command), process.returncode, bytes(printed[0]), bytes(printed[1]))


def end_with(parent: int) -> None:
    """Let Linux kill this process as soon as ``parent``, which started it, is no more; elsewhere nothing is done.

    Nor is anything done in a process that ``parent`` did not start.
    """
    if os.getppid() != parent:
        return
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it ended meanwhile
        os.kill(os.getpid(), signal.SIGKILL)


@contextlib.contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder that is removed at the end; those that killed processes left behind go now."""
    _sweep(Path(tempfile.gettempdir()))
    with tempfile.TemporaryDirectory(prefix=PREFIX) as name, _held(Path(name)):
        yield Path(name)


@contextlib.contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Keep a lock on ``folder``, which the system gives up with this process.

    Raises:
        BlockingIOError: another process has it.
    """
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


def _sweep(place: Path) -> None:
    """Remove this user's folders below ``place`` that no process holds."""
    for folder in place.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            state = folder.lstat()
            if state.st_uid != os.getuid() or time.time() - state.st_mtime < _SETTLED_S:
                continue
            with _held(folder):
                shutil.rmtree(folder, ignore_errors=True)
