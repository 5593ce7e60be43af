"""The adb server: where it is, what is attached to it, and one adb command after the other.

The binary itself is driven, not its protocol: it brings the user's own server, keys and USB drivers, exit codes and a
stderr of its own. Every command has a timeout. ``ANDROID_ADB_SERVER_ADDRESS`` and ``ANDROID_ADB_SERVER_PORT`` are
honoured, by adb itself; ``Server(host, port)`` overrides them.
"""

from __future__ import annotations

import math
import os
import re
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Sequence

from android_bench.phone.errors import REMEDIES, AdbError, AdbTimeoutError, TransientAdbError, error_of
from evit_mobile.errors import MachineError
from evit_mobile.processes import OutputLimitError, run_bounded

#: Seconds that a verb may take that only asks the server, and one that runs a short command on the device.
QUICK_S = 60.0
#: What a command may print, far more than any of ours does; and devices that may be attached.
MOST_OUTPUT_BYTES, MOST_DEVICES = 2**26, 1000
#: Seconds between two looks at a device while waiting for it.
POLL_S = 0.2
#: Seconds in which a server that was just started finds what is attached.
DISCOVERY_S = 3.0

#: A serial that is an address on the network.
_NETWORK = re.compile(r"(?:\[[0-9A-Fa-f:%.\w]+\]|[A-Za-z0-9.-]+):\d{1,5}")


@dataclass(frozen=True)
class Attached:
    """One line of ``adb devices``. ``state`` is ``device`` if it can be used, else a key of ``REMEDIES`` or unknown."""

    serial: str
    state: str

    @property
    def todo(self) -> str | None:
        """What to do before it can be used; None where it can."""
        return None if self.state == "device" else REMEDIES.get(self.state, "plug it in again")


def find_binary() -> Path:
    """The adb to use: the one on PATH, else that of an Android SDK in its usual place.

    Raises:
        MachineError: there is none.
    """
    on_path = shutil.which("adb")
    if on_path is not None:
        return Path(on_path)
    roots = [os.environ.get(name) for name in ("ANDROID_HOME", "ANDROID_SDK_ROOT")]
    for root in [*filter(None, roots), "~/Android/Sdk", "~/Library/Android/sdk"]:
        candidate = Path(root).expanduser() / "platform-tools" / "adb"
        if os.access(candidate, os.X_OK):
            return candidate
    raise MachineError(
        "there is no adb on this machine", hint="install it: apt install adb, or Android's SDK Platform-Tools"
    )


@dataclass(frozen=True)
class Server:
    """An adb server: the local one that the environment names (started where it is not running), or a remote one.

    Attributes:
        binary: the adb program.
        host, port: of the server; None leaves it to adb and its environment variables.
    """

    binary: Path
    host: str | None = None
    port: int | None = None

    def command(self, arguments: Sequence[str], serial: str | None = None) -> list[str]:
        """The argument vector of an adb command."""
        command = [str(self.binary)]
        command += ["-H", self.host] if self.host else []
        command += ["-P", str(self.port)] if self.port else []
        command += ["-s", serial] if serial else []
        return [*command, *arguments]

    @property
    def address(self) -> str:
        """Where it listens, the same however it was named."""
        host = self.host or os.environ.get("ANDROID_ADB_SERVER_ADDRESS") or "localhost"
        port = self.port or os.environ.get("ANDROID_ADB_SERVER_PORT") or 5037
        return f"{'localhost' if host in ('127.0.0.1', '::1') else host}:{port}"

    def run(
        self, arguments: Sequence[str], *, timeout_s: float, serial: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run one adb command and give what it printed, whatever its exit code.

        Raises:
            AdbTimeoutError: it did not end in time. MachineError: adb cannot be executed.
        """
        command = self.command(arguments, serial)
        try:
            done = run_bounded(command, timeout_s=timeout_s, limit_bytes=MOST_OUTPUT_BYTES, env=environment())
        except OutputLimitError as error:
            raise AdbError(f"adb {arguments[0]}: {error}") from error
        except subprocess.TimeoutExpired as error:
            raise AdbTimeoutError(
                f"adb {arguments[0]} did not end within {timeout_s:.0f} s",
                serial=serial,
                hint="is the cable loose?",
            ) from error
        except OSError as error:
            raise MachineError(f"{self.binary} cannot be executed: {error.strerror}", hint="reinstall adb") from error
        return subprocess.CompletedProcess(command, done.returncode, plain(done.stdout), plain(done.stderr))

    def check(self, arguments: Sequence[str], *, timeout_s: float = QUICK_S, serial: str | None = None) -> str:
        """Run one adb command that must end with 0, and give its stdout.

        Raises:
            AdbError: it did not; a ``TransientAdbError`` where it may work when tried again.
        """
        done = self.run(arguments, timeout_s=timeout_s, serial=serial)
        if done.returncode != 0:
            raise error_of(done, serial)
        return done.stdout

    def version(self) -> str:
        """E.g. ``36.0.0-13206524``."""
        match = re.search(r"^Version (\S+)$", self.check(["version"]), re.MULTILINE)
        return match[1] if match else "unknown"

    def devices(self) -> list[Attached]:
        """What is attached, in any state.

        Raises:
            AdbError: it lists more than can be attached.
        """
        attached = []
        for line in self.check(["devices"]).splitlines():
            serial, separator, state = line.partition("\t")
            if separator:
                # "no permissions (user in plugdev group; …); see [http://…]"
                attached.append(
                    Attached(serial.strip(), "no permissions" if state.startswith("no permissions") else state.strip())
                )
        if len(attached) > MOST_DEVICES:
            raise AdbError(f"adb lists {len(attached)} devices, more than can be attached")
        return attached

    def state(self, serial: str) -> Attached:
        """The state of one device; ``absent`` where adb does not see it."""
        return next((device for device in self.devices() if device.serial == serial), Attached(serial, "absent"))

    def connect(self, serial: str) -> None:
        """Connect to a device on the network; a dead connection to it is given up first. Whether it worked is for
        ``state`` to say.
        """
        if self.state(serial).state != "absent":
            self.run(["disconnect", serial], timeout_s=QUICK_S)
        self.run(["connect", serial], timeout_s=QUICK_S)

    def await_device(self, serial: str, timeout_s: float, absent_s: float = math.inf) -> None:
        """Return when the device can be used.

        Args:
            absent_s: how much of that time a device that was not seen yet may be absent.

        Raises:
            AdbError: it still cannot be used after ``timeout_s`` seconds, or never could be without its user.
        """
        start, was_seen = time.monotonic(), False
        while True:
            try:
                device = self.state(serial)
                if device.state not in ("device", "unauthorized", "no permissions") and _NETWORK.fullmatch(serial):
                    self.connect(serial)
                    device = self.state(serial)
            except (TransientAdbError, AdbTimeoutError):
                # The server itself died; the next command starts another.
                device = Attached(serial, "absent")
            if device.state == "device":
                return
            was_seen |= device.state != "absent"
            left = start + (timeout_s if was_seen else min(absent_s, timeout_s)) - time.monotonic()
            if device.state in ("unauthorized", "no permissions") or left <= 0:
                words = "is not there" if device.state == "absent" else f"is {device.state}"
                kind = AdbError if device.state in ("unauthorized", "no permissions") else TransientAdbError
                raise kind(f"device {serial} {words}", hint=device.todo, serial=serial)
            time.sleep(POLL_S)


def environment() -> dict[str, str]:
    """The environment of an adb command."""
    # With a serial of its own in the command, one in the environment could only mislead.
    return {name: value for name, value in os.environ.items() if name != "ANDROID_SERIAL"}


def plain(output: bytes) -> str:
    """Lines that end as Unix has it: a shell of before Android 7 is a terminal, whose lines end in CR LF, or in CR CR
    LF.
    """
    return re.sub(r"\r+\n", "\n", output.decode(errors="replace"))
