"""What is ours on an Android device: the benchmark program and the models, in one folder, under names made of their
hashes.

So a file that is there and complete is not pushed again, and no other file can be mistaken for it.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Callable

from android_bench.phone.adb import Adb, transfer_s
from android_bench.phone.errors import AdbError, TransientAdbError
from evit_mobile.weights import sha256_of

#: All that is ours on a device. Programs may be executed below /data/local/tmp and hardly anywhere else.
FOLDER = "/data/local/tmp/evit-mobile"
#: Digits of a hash in a name.
DIGITS = 16

#: Exit codes of ``sh`` and of our own scripts.
_NOT_FOUND, _NO_FOLDER = 127, 9


def remote(local: Path) -> str:
    """A file's path on the device."""
    return f"{FOLDER}/{sha256_of(local)[:DIGITS]}"


def put(adb: Adb, local: Path, *, executable: bool = False, say: Callable[[str], None] = lambda text: None) -> None:
    """Bring a file to the device, unless it is there and whole. A file that arrives in part never has its name.

    Raises:
        AdbError: it does not arrive whole. TransientAdbError: the device went away meanwhile.
    """
    path, digest = remote(local), sha256_of(local)
    limit = transfer_s(local.stat().st_size)
    if _sha256(adb, path, limit) == digest:
        return
    say(f"pushing {local.name} to {adb.serial}")
    part = f"{path}.part"
    try:
        adb.push(local, part)
        if _sha256(adb, part, limit) != digest:
            raise AdbError(
                f"{local.name} did not arrive whole on device {adb.serial}: its hash differs",
                hint="is the cable loose?",
                serial=adb.serial,
            )
    except TransientAdbError:
        raise
    except AdbError:
        # The device must not stay full because of us.
        adb.shell(f"rm -f {part}")
        raise
    adb.shell((f"chmod 755 {part} && " if executable else "") + f"mv {part} {path}")


def remove_all(adb: Adb) -> None:
    """Leave nothing."""
    adb.shell(f"rm -rf {FOLDER}")


def _sha256(adb: Adb, path: str, timeout_s: float) -> str | None:
    """The hash of a file on the device; None where there is no such file."""
    output = adb.shell(f"mkdir -p {FOLDER} || exit {_NO_FOLDER}; sha256sum {path}", timeout_s=timeout_s)
    if output.exit_code == _NO_FOLDER:
        words = (output.stderr or output.stdout).strip().splitlines()
        raise AdbError(
            f"device {adb.serial} takes no files: {words[0] if words else f'{FOLDER} cannot be made'}",
            serial=adb.serial,
        )
    if output.exit_code == _NOT_FOUND:
        raise AdbError(
            f"device {adb.serial} has no sha256sum",
            hint="Android 6 is the oldest that can be measured",
            serial=adb.serial,
        )
    match = re.match(r"([0-9a-f]{64})\b", output.stdout)
    return match[1] if match else None
