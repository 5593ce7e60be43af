"""What happens on a virtual phone, and when: to do something as soon as something else is so."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from android_bench.phone.store import FOLDER
from tests.adb.conftest import Ended
from tests.virtual_device.phone import VirtualPhone

AWAKE = "settings/global/stay_on_while_plugged_in"
BOTH = pytest.mark.parametrize("adb_lane", ["distribution", "google"], indirect=True)
Bench = Callable[..., Ended]


@contextlib.contextmanager
def when(condition: Callable[[], bool], action: Callable[[], None]) -> Iterator[None]:
    """Do ``action`` once, as soon as ``condition`` holds, beside the body."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.01):
            if condition():
                action()
                return

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def soon(condition: Callable[[], bool]) -> None:
    """Wait until ``condition`` holds; it is bound to in a moment."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def ours(phone: VirtualPhone) -> Path:
    """The folder that is ours on the phone."""
    return phone.data / "evit-mobile"


def running(phone: VirtualPhone) -> bool:
    """Whether a round has begun and not ended."""
    return (ours(phone) / "running").exists()


def programs(phone: VirtualPhone) -> list[str]:
    """The command lines of the phone's programs that are ours: they are processes of this machine, in the
    phone's root.
    """
    lines = []
    for number in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            if os.path.samefile(f"/proc/{number}/root", phone.root):
                lines.append(Path(f"/proc/{number}/cmdline").read_text())
    return [line for line in lines if FOLDER in line]
