"""The adb command, by explicit verbs.

The binary itself is driven, not its protocol: it brings the user's own server, keys and USB drivers, exit codes and a
stderr of its own. Every call names its device and has a timeout. ``ANDROID_ADB_SERVER_ADDRESS`` and
``ANDROID_ADB_SERVER_PORT`` are honoured, by adb itself; ``Server(host, port)`` overrides them.

An exit code of 0 is no proof: adb 29 ends with 0 when the device vanishes in the middle of a shell command. So
``Adb.shell`` makes the device end its output with a word that cannot be there by chance, and the exit code behind it is
the command's own.
"""

from __future__ import annotations

import math
import os
import re
import secrets
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Sequence

from evit_mobile.errors import DeviceError, MachineError, RequestError

#: Seconds that a verb may take that only asks the server, and one that runs a short command on the device.
QUICK_S = 60.0
#: Seconds more for each started 10 MB that are pushed or hashed: Wi-Fi at its usual, an emulator at its slowest.
TRANSFER_S_PER_10_MB = 20.0
#: Seconds between two looks at a device that is awaited.
POLL_S = 0.2
#: Seconds in which a server that was just started finds what is attached.
DISCOVERY_S = 3.0

#: What a serial may hold: USB serials, ``host:port``, ``emulator-5554``, IPv6 in brackets, mDNS names, of which a
#: second one of a device is ``adb-SERIAL-xxxxxx (2)._adb-tls-connect._tcp``.
_SERIAL = re.compile(r"[A-Za-z0-9_\[][A-Za-z0-9_.:%\[\]-]*(?: \(\d+\)[A-Za-z0-9_.-]*)?")
_NETWORK = re.compile(r"(?:\[[0-9A-Fa-f:%.\w]+\]|[A-Za-z0-9.-]+):\d{1,5}")

#: Words of adb (29 to 36) for what may be over when it is tried again.
_TRANSIENT = re.compile(
    r"device offline|device '[^']*' not found|no devices/emulators found|"
    r"device still (?:connecting|authorizing)|error: closed|"
    r"protocol fault|connection reset|broken pipe|cannot connect to daemon|"
    r"failed to (?:get feature set|read|write|check server version)|"
    r"couldn't read|unexpected EOF|\bEOF\b|connect(?:ion)? (?:error|refused|failed)|"
    r"failed to read copy response|failed to start sync",
    re.IGNORECASE,
)
#: States of ``adb devices`` other than ``device``, and what to do about each.
TODO = {
    "unauthorized": "unlock the phone and allow USB debugging for this computer",
    "authorizing": "wait a moment, or unlock the phone and allow USB debugging",
    "connecting": "wait a moment, then try again",
    "offline": "plug the cable in again, or restart USB debugging on the phone",
    "no permissions": "let your user reach the USB device: on Debian and Ubuntu install "
    "android-sdk-platform-tools-common and log in anew",
    "recovery": "boot the phone into Android",
    "sideload": "boot the phone into Android",
    "bootloader": "boot the phone into Android",
    "host": "boot the phone into Android",
    "rescue": "boot the phone into Android",
    "absent": "connect it; evit-mobile devices lists what adb sees",
}


class AdbError(DeviceError):
    """An adb command failed for a reason that stays: trying again would not help.

    Attributes:
        command: the argument vector. serial: of the device; None where the command has none.
        status: adb's exit code, None where it was stopped. stdout, stderr: as they came.
    """

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        command: Sequence[str] = (),
        serial: str | None = None,
        exit_code: int | None = None,
        stdout: str = "",
        stderr: str = "",
    ) -> None:
        super().__init__(message, hint=hint)
        self.command = tuple(command)
        self.serial, self.stdout, self.stderr = serial, stdout, stderr
        self.status = exit_code


class TransientAdbError(AdbError):
    """An adb command failed for a reason that may be over soon: the device or the server went away."""


class AdbTimeoutError(AdbError):
    """An adb command did not end in time and was stopped; what it started on the device may still run."""


@dataclass(frozen=True)
class Attached:
    """One line of ``adb devices``: ``state`` is ``device`` for one that can be used, else a key of ``TODO``, mostly."""

    serial: str
    state: str

    @property
    def todo(self) -> str | None:
        """What to do before it can be used; None where it can."""
        return None if self.state == "device" else TODO.get(self.state, "plug it in again")


@dataclass(frozen=True)
class Output:
    """What a command on the device printed, and its own exit code. A device older than Android 7 merges stderr into
    stdout.
    """

    stdout: str
    stderr: str
    exit_code: int


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
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout_s, env=_environment()
            )
        except subprocess.TimeoutExpired as error:
            raise AdbTimeoutError(
                f"adb {arguments[0]} did not end within {timeout_s:.0f} s",
                command=command,
                serial=serial,
                hint="is the cable loose?",
            ) from error
        except OSError as error:
            raise MachineError(
                f"{self.binary} cannot be executed: {error.strerror}", hint="install adb anew"
            ) from error
        return subprocess.CompletedProcess(command, done.returncode, _plain(done.stdout), _plain(done.stderr))

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
        """What is attached, in any state."""
        found = []
        for line in self.check(["devices"]).splitlines():
            serial, separator, state = line.partition("\t")
            if separator:
                # "no permissions (user in plugdev group; …); see [http://…]"
                found.append(
                    Attached(serial.strip(), "no permissions" if state.startswith("no permissions") else state.strip())
                )
        return found

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
                found = self.state(serial)
                if found.state not in ("device", "unauthorized", "no permissions") and _NETWORK.fullmatch(serial):
                    self.connect(serial)
                    found = self.state(serial)
            except (TransientAdbError, AdbTimeoutError):
                # The server itself died; the next command starts another.
                found = Attached(serial, "absent")
            if found.state == "device":
                return
            was_seen |= found.state != "absent"
            left = start + (timeout_s if was_seen else min(absent_s, timeout_s)) - time.monotonic()
            if found.state in ("unauthorized", "no permissions") or left <= 0:
                words = "is not there" if found.state == "absent" else f"is {found.state}"
                kind = AdbError if found.state in ("unauthorized", "no permissions") else TransientAdbError
                raise kind(f"device {serial} {words}", hint=found.todo, serial=serial)
            time.sleep(POLL_S)


class Adb:
    """One device behind a server.

    Args:
        server: the adb server that sees it.
        serial: as ``adb devices`` prints it.

    Raises:
        RequestError: the serial is none.
    """

    def __init__(self, server: Server, serial: str) -> None:
        if not _SERIAL.fullmatch(serial):
            raise RequestError(f"{serial!r} is not a device serial", hint="evit-mobile devices lists them")
        self.server, self.serial = server, serial

    def shell(self, script: str, *, timeout_s: float = QUICK_S) -> Output:
        """Run a script by the device's shell, and give what it printed and its exit code, whatever it is.

        Args:
            script: for ``sh``; quote what comes from elsewhere by ``shlex.quote``.

        Raises:
            TransientAdbError: the device or the server went away before the script ended.
            AdbTimeoutError: the script did not end in time. AdbError: the device cannot be used.
        """
        end = secrets.token_hex(8)
        # The subshell keeps an ``exit`` in the script from skipping the last line.
        whole = f'(\n{script}\n) </dev/null; end=$?; echo; echo "{end}:$end"'
        done = self.server.run(["shell", whole], timeout_s=timeout_s, serial=self.serial)
        body, separator, code = done.stdout.rpartition(f"\n{end}:")
        if not separator or not code.strip().isdigit():
            raise error_of(done, self.serial, otherwise="the device went away before the command ended")
        return Output(body, done.stderr, int(code))

    def hold(self, script: str) -> subprocess.Popen[bytes]:
        """Start a script on the device whose stdin ends when we let go: by closing it, by our own death, or when the
        cable is pulled.

        The caller closes stdin and waits for the process. What the script prints is lost.

        Raises:
            MachineError: adb cannot be executed.
        """
        try:
            return subprocess.Popen(
                self.server.command(["shell", script], self.serial),
                env=_environment(),
                start_new_session=True,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        except OSError as error:
            raise MachineError(
                f"{self.server.binary} cannot be executed: {error.strerror}", hint="install adb anew"
            ) from error

    def push(self, local: Path, remote: str) -> None:
        """Copy a file to the device. Whether it arrived whole is for the caller to check.

        Raises:
            AdbError: it could not be written (no space, no permission). TransientAdbError: the device went away.
            AdbTimeoutError: it took too long.
        """
        # Absolute, for a name that begins with a dash would be an option.
        done = self.server.run(
            ["push", str(local.absolute()), remote], timeout_s=transfer_s(local.stat().st_size), serial=self.serial
        )
        if done.returncode != 0:
            raise error_of(done, self.serial)


def _environment() -> dict[str, str]:
    # With a serial of its own in the command, one in the environment could only mislead.
    return {name: value for name, value in os.environ.items() if name != "ANDROID_SERIAL"}


def _plain(output: bytes) -> str:
    """Lines that end as Unix has it: a shell of before Android 7 is a terminal, whose lines end in CR LF, or in CR CR
    LF.
    """
    return re.sub(r"\r+\n", "\n", output.decode(errors="replace"))


def transfer_s(size_bytes: int) -> float:
    """How long it may take to push or to hash so much."""
    return QUICK_S + TRANSFER_S_PER_10_MB * (1 + size_bytes // 10_000_000)


def error_of(done: subprocess.CompletedProcess[str], serial: str | None, otherwise: str = "adb failed") -> AdbError:
    """The error that an ended adb command amounts to, in adb's own words.

    Args:
        otherwise: what to say where adb says nothing; that counts as transient.
    """
    lines = [line.strip() for line in (done.stderr + "\n" + done.stdout).splitlines()]
    words = [
        re.sub(r"^(?:adb: )?(?:error: )?", "", line) for line in lines if re.match(r"(?:adb: )?error: |adb: ", line)
    ]
    said = words[0].rstrip(".") if words else otherwise
    transient = bool(_TRANSIENT.search("\n".join(lines))) or not words
    hint = None
    if "unauthorized" in said:
        transient, hint = False, TODO["unauthorized"]
    elif "No space left" in "\n".join(lines):
        transient, said, hint = False, "no space left on the device", "free some, then try again"
    elif "doesn't match this client" in "\n".join(lines):
        hint = (
            "two versions of adb take the server from each other: "
            "use one of them, or give each its own ANDROID_ADB_SERVER_PORT"
        )
    kind = TransientAdbError if transient else AdbError
    message = f"device {serial}: {said}" if serial and serial not in said else said
    return kind(
        message,
        hint=hint,
        command=done.args,
        serial=serial,
        exit_code=done.returncode,
        stdout=done.stdout,
        stderr=done.stderr,
    )
