"""The errors of the adb command, and what to do about each."""

from __future__ import annotations

import re
import subprocess

from evit_mobile.errors import DeviceError

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
REMEDIES = {
    "unauthorized": "unlock the phone and allow USB debugging for this computer",
    "authorizing": "wait a moment, or unlock the phone and allow USB debugging",
    "connecting": "wait a moment, then try again",
    "offline": "plug the cable in again, or restart USB debugging on the phone",
    "no permissions": "let your user reach the USB device: on Debian and Ubuntu install "
    "android-sdk-platform-tools-common and log in again",
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
        serial: of the device; None where the command has none.
        process: the adb command as it ended; None where none ended.
    """

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        serial: str | None = None,
        process: subprocess.CompletedProcess[str] | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.serial, self.process = serial, process


class TransientAdbError(AdbError):
    """An adb command failed for a reason that may be over soon: the device or the server went away."""


class AdbTimeoutError(AdbError):
    """An adb command did not end in time and was stopped; what it started on the device may still run."""


def error_of(process: subprocess.CompletedProcess[str], serial: str | None, otherwise: str = "adb failed") -> AdbError:
    """The error that an ended adb command amounts to, in adb's own words.

    Args:
        otherwise: the message if adb prints none; that counts as transient.
    """
    lines = [line.strip() for line in (process.stderr + "\n" + process.stdout).splitlines()]
    words = [
        re.sub(r"^(?:adb: )?(?:error: )?", "", line) for line in lines if re.match(r"(?:adb: )?error: |adb: ", line)
    ]
    reason = words[0].rstrip(".") if words else otherwise
    transient = bool(_TRANSIENT.search("\n".join(lines))) or not words
    hint = None
    if "unauthorized" in reason:
        transient, hint = False, REMEDIES["unauthorized"]
    elif "No space left" in "\n".join(lines):
        transient, reason, hint = False, "no space left on the device", "free some, then try again"
    elif "doesn't match this client" in "\n".join(lines):
        hint = (
            "two versions of adb take the server from each other: "
            "use one of them, or give each its own ANDROID_ADB_SERVER_PORT"
        )
    kind = TransientAdbError if transient else AdbError
    message = f"device {serial}: {reason}" if serial and serial not in reason else reason
    return kind(message, hint=hint, serial=serial, process=process)
