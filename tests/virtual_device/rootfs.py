"""The arm64 system that virtual phones share: Debian's C library with Android's shell (mksh) and its tools (toybox)."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from filelock import FileLock

PACKAGES = ("libc6", "libstdc++6", "libgcc-s1", "mksh", "toybox")
SUITE = "bookworm"
#: What the lane is made of, by the program that shows it is there and the package that brings it.
PROGRAMS = {"adb": "adb", "mmdebstrap": "mmdebstrap", "qemu-aarch64-static": "qemu-user-static", "unshare": "util-linux"}


def missing() -> str | None:
    """What keeps this machine from being a virtual phone, and what to do about it; None where nothing does."""
    absent = [package for program, package in PROGRAMS.items() if shutil.which(program) is None]
    if absent:
        return f"apt install {' '.join(absent)}"
    script = "mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc && test -w /proc/sys/fs/binfmt_misc/register"
    done = subprocess.run(["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script], capture_output=True, text=True)
    if done.returncode != 0:
        return f"needs user namespaces with a binfmt_misc of their own (Linux 6.7): {done.stderr.strip()}"
    return None


def install_missing() -> None:
    """As root, install what is missing from the distribution; nothing as anyone else."""
    absent = [package for program, package in PROGRAMS.items() if shutil.which(program) is None]
    if absent and os.geteuid() == 0 and shutil.which("apt-get"):
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for command in (["apt-get", "update", "-qq"], ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *absent]):
            subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)


def base_root(cache: Path) -> Path:
    """The system below ``cache``, made if absent (31 MB, some seconds)."""
    root = cache / f"arm64-{SUITE}"
    with FileLock(cache / "arm64.lock"):
        if not root.is_dir():
            half_made = cache / f"arm64-{SUITE}.new"
            shutil.rmtree(half_made, ignore_errors=True)
            # extract: nothing of another architecture has to be run to unpack it.
            subprocess.run(
                ["mmdebstrap", "--quiet", "--arch=arm64", "--variant=extract", "--mode=" + ("root" if os.geteuid() == 0 else "unshare"),
                 f"--include={','.join(PACKAGES)}", SUITE, str(half_made)],
                check=True, capture_output=True, text=True,
            )  # fmt: skip
            # Device nodes are no files that a copy of the root could hold; a phone has this machine's /dev.
            shutil.rmtree(half_made / "dev")
            for name in ("dev", "proc"):
                (half_made / name).mkdir()
            half_made.rename(root)
    return root
