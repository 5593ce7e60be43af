"""Processes that end together, and folders that do not outlive them."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

#: Begins the name of every folder of ``temporary_folder``, and of no other: what is swept has to be held by a lock
#: while it is in use.
PREFIX = "evit-mobile-held-"
#: A folder younger than this may not be locked yet, seconds.
_SETTLED_S = 60.0
_PR_SET_PDEATHSIG = 1
#: Signals that a program's own faults end it by.
CRASHES = {signal.SIGSEGV, signal.SIGABRT, signal.SIGFPE, signal.SIGBUS, signal.SIGILL, signal.SIGTRAP, signal.SIGSYS}


class EndedError(KeyboardInterrupt):
    """SIGTERM or SIGHUP came: like Ctrl-C, everything on the way out is cleaned up."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_code = 128 + number


@contextlib.contextmanager
def ending_signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP raise ``EndedError`` in the body; one that is ignored, as under nohup, stays ignored."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, frame: FrameType | None) -> None:
        raise EndedError(number)

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, end)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


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
