"""One device behind adb, by explicit verbs; each has a timeout.

An exit code of 0 proves nothing: adb 29 ends with 0 when the device vanishes in the middle of a shell command. So
``Adb.shell`` makes the device end its output with a word that cannot be there by chance, and the exit code behind it is
the command's own.
"""

from __future__ import annotations

import re
import secrets
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from android_bench.phone.errors import error_of
from android_bench.phone.server import QUICK_S, Server, environment
from evit_mobile.errors import MachineError, RequestError

#: Seconds more for each started 10 MB that are pushed or hashed: Wi-Fi at its usual, an emulator at its slowest.
TRANSFER_S_PER_10_MB = 20.0

#: What a serial may hold: USB serials, ``host:port``, ``emulator-5554``, IPv6 in brackets, mDNS names, of which a
#: second one of a device is ``adb-SERIAL-xxxxxx (2)._adb-tls-connect._tcp``.
_SERIAL = re.compile(r"[A-Za-z0-9_\[][A-Za-z0-9_.:%\[\]-]*(?: \(\d+\)[A-Za-z0-9_.-]*)?")


@dataclass(frozen=True)
class Output:
    """What a command on the device printed, and its own exit code. A device older than Android 7 merges stderr into
    stdout.
    """

    stdout: str
    stderr: str
    exit_code: int


class Adb:
    """One device behind a server.

    Args:
        server: the adb server that sees it.
        serial: as ``adb devices`` prints it.

    Raises:
        RequestError: the text is not a serial.
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
        return self._begin(script, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def start(self, script: str, errors: IO[bytes]) -> subprocess.Popen[bytes]:
        """Start a script on the device and give its stdout while it runs. Where the device or we go away, the script is
        told by SIGHUP, and by SIGPIPE when it writes.

        Args:
            errors: gets its stderr.

        Raises:
            MachineError: adb cannot be executed.
        """
        return self._begin(script, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors)

    def _begin(self, script: str, *, stdin: int, stdout: int, stderr: int | IO[bytes]) -> subprocess.Popen[bytes]:
        command = self.server.command(["shell", script], self.serial)
        try:
            return subprocess.Popen(
                command, env=environment(), start_new_session=True, stdin=stdin, stdout=stdout, stderr=stderr
            )
        except OSError as error:
            raise MachineError(
                f"{self.server.binary} cannot be executed: {error.strerror}", hint="reinstall adb"
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


def transfer_s(size_bytes: int) -> float:
    """How long it may take to push or hash this many bytes."""
    return QUICK_S + TRANSFER_S_PER_10_MB * (1 + size_bytes // 10_000_000)
