"""LLVM's disassembler and its scheduling models, which the distribution packages."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from android_bench.emulator import parts
from evit_mobile.errors import MachineError

#: The package that ``emulator setup`` installs, and the releases that are taken where it is there already, the best
#: first: estimates of one release repeat, those of another may differ by a few per cent.
PACKAGE = "llvm-19"
RELEASES = (19, 20, 21, 18, 17)


@dataclass(frozen=True)
class Llvm:
    """llvm-mca and llvm-objdump of one release, as ``19.1.7``."""

    mca: Path
    objdump: Path
    version: str


def missing() -> list[str]:
    """What this machine lacks for an estimate beyond the emulator, in a line; empty if nothing."""
    return [] if _find() is not None else [f"llvm-mca ({RELEASES[-1]} or newer) is missing: apt-get install {PACKAGE}"]


def find_llvm() -> Llvm:
    """The LLVM that is there.

    Raises:
        MachineError: there is none, or it does not start.
    """
    programs = _find()
    if programs is None:
        raise MachineError(
            f"a latency cannot be estimated: {missing()[0]}", hint="as root, evit-mobile emulator setup installs it"
        )
    mca, objdump = programs
    printed = parts.command(
        [mca, "--version"], "asking llvm-mca for its version", f"apt-get install --reinstall {PACKAGE}"
    )
    match = re.search(r"LLVM version (\d+\.\d+\.\d+)", printed)
    if match is None:
        raise MachineError(f"{mca} does not say its version: {printed.strip()[:80]!r}")
    return Llvm(mca, objdump, match[1])


def _find() -> tuple[Path, Path] | None:
    for release in RELEASES:
        mca, objdump = shutil.which(f"llvm-mca-{release}"), shutil.which(f"llvm-objdump-{release}")
        if mca is not None and objdump is not None:
            return Path(mca), Path(objdump)
    return None
