"""Whether this machine can be a virtual phone, and what it is made of."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from pathlib import Path

from android_bench.emulator import root as emulator
from tests import apt

#: Beyond the emulated device's own needs, by the program that shows it is there. The static QEMU can be used from
#: within a root.
PROGRAMS = {"adb": "adb", "qemu-aarch64-static": "qemu-user-static", "unshare": "util-linux"}


def install_missing() -> None:
    """As root, install what is missing from the distribution; nothing as anyone else."""
    apt.install(_missing_packages())


def missing() -> str | None:
    """What keeps this machine from being a virtual phone, and what to do about it; None where nothing does."""
    packages = _missing_packages()
    if packages:
        return f"the virtual phone needs: apt install {' '.join(packages)}"
    other = emulator.missing()
    if other:
        return other[0]
    script = "mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc && test -w /proc/sys/fs/binfmt_misc/register"
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script], capture_output=True, text=True
    )
    if done.returncode != 0:
        missing = "the virtual phone needs user namespaces with a binfmt_misc of their own (Linux 6.7)"
        return f"{missing}: {done.stderr.strip()}"
    return None


def adb_binaries() -> dict[str, Path]:
    """The generations of adb that are here, by what they are called in a test: the distribution's, and Google's from a
    wheel.
    """
    binaries = {}
    on_path = shutil.which("adb")
    if on_path is not None:
        binaries["distribution"] = Path(on_path)
    wheel = importlib.util.find_spec("adbutils")
    if wheel is not None and wheel.origin is not None:
        bundled = Path(wheel.origin).parent / "binaries" / "adb"
        if bundled.exists():
            binaries["google"] = bundled
    return binaries


def _missing_packages() -> list[str]:
    own = [package for program, package in PROGRAMS.items() if shutil.which(program) is None]
    return [*own, *emulator.missing_packages()]
