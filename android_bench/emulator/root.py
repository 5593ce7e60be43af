"""What the emulated device needs on this machine, and making it: an arm64 root, LiteRT for arm64, a runner, an
instruction counter.

Everything is made below the cache folder, from distribution packages and a wheel whose hash is pinned. No privilege is
needed: the packages of the arm64 root are unpacked, never installed, and QEMU sees them through its ``-L`` prefix.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Mapping

from android_bench.emulator import parts
from evit_mobile.errors import MachineError
from evit_mobile.files import cache_folder
from evit_mobile.runtimes.pythons import find_uv
from evit_mobile.weights import sha256_of

#: Releases of ai-edge-litert whose arm64 library is fetched: the one that the converter is tested with, and the newest
#: known.
LITERT_RELEASES = ("2.1.2", "2.3.0")

#: Packages of the arm64 root: the libraries that LiteRT links to, and Android's shell and tools for whatever needs a
#: shell there.
ROOT_PACKAGES = ("libc6", "libstdc++6", "libgcc-s1", "mksh", "toybox")

_SOURCES = Path(__file__).parent
_TRACER = _SOURCES.parent / "estimate" / "tracer.c"


@dataclass(frozen=True)
class Need:
    """A program that must be there, what it is for, and the Debian/Ubuntu package that brings it."""

    program: str
    purpose: str
    package: str


NEEDS = (
    Need("qemu-aarch64", "runs arm64 programs and counts their instructions", "qemu-user"),
    Need("aarch64-linux-gnu-gcc", "builds the arm64 runner", "gcc-aarch64-linux-gnu libc6-dev-arm64-cross"),
    Need("gcc", "builds the instruction counter", "gcc libc6-dev"),
    Need("mmdebstrap", "unpacks the arm64 libraries", "mmdebstrap"),
)


@dataclass(frozen=True)
class EmulatorRoot:
    """What ``prepare`` made. All of it is shared and may be read by anyone; whoever writes to the root takes a copy.

    Attributes:
        root: an arm64 root with libraries, mksh and toybox, a folder that QEMU takes as ``-L``.
        runner: the arm64 program that runs a model and prints as benchmark_model does, see ``runner.c``.
        plugin: the instruction counter, a TCG plugin for ``qemu``.
        tracer: what follows code and caches for an estimate, another such plugin.
        qemu: qemu-aarch64, dynamically linked: the static one takes no plugin.
        litert: libLiteRt.so for arm64, by release of ai-edge-litert.
        qemu_version: as ``7.2.22``.
        distribution: where the root's packages are from, as ``bookworm``.
    """

    root: Path
    runner: Path
    plugin: Path
    tracer: Path
    qemu: Path
    litert: Mapping[str, Path]
    qemu_version: str
    distribution: str


def missing() -> list[str]:
    """What this machine lacks, one line each with the command that brings it; empty where everything is there."""
    if platform.system() != "Linux":
        return [f"user-mode QEMU runs on Linux only, this is {platform.system()}: use a Linux machine or container"]
    lacking = [
        f"{need.program} ({need.purpose}) is missing: apt-get install {need.package}"
        for need in NEEDS
        if shutil.which(need.program) is None
    ]
    if find_uv() is None and importlib.util.find_spec("pip") is None:
        lacking.append("neither uv nor pip is there (to fetch LiteRT for arm64): python -m ensurepip, or install uv")
    qemu = shutil.which("qemu-aarch64")
    if qemu is not None and not _takes_plugins(qemu):
        lacking.append(
            f"{qemu} takes no plugins (it is linked statically, or built without them): apt-get install qemu-user"
        )
    return lacking


def missing_packages() -> list[str]:
    """The distribution packages that bring the missing programs."""
    return [name for need in NEEDS if shutil.which(need.program) is None for name in need.package.split()]


def prepare(progress: Callable[[str], None] = lambda text: None) -> EmulatorRoot:
    """Make whatever is not there yet, check the rest by hash, and say where it all is. ``progress`` gets each step.

    Raises:
        MachineError: a program is missing, a download or a build failed, or the result does not run; nothing half-made
            is left.
    """
    lacking = missing()
    if lacking:
        more = f" (and {len(lacking) - 1} more)" if len(lacking) > 1 else ""
        raise MachineError(
            f"the emulated device cannot be set up: {lacking[0]}{more}", hint="see evit-mobile emulator setup"
        )
    folder = cache_folder("emulator").absolute()
    qemu = Path(str(shutil.which("qemu-aarch64")))
    version = qemu_version(qemu)
    codename = _codename()
    progress("arm64 libraries")
    parts.ensure(folder / "root", f"{codename} {ROOT_PACKAGES} 1", lambda place: _make_root(place, codename))
    libraries = {}
    for release in LITERT_RELEASES:
        progress(f"LiteRT {release} for arm64")
        lock = _SOURCES / f"litert-{release}-arm64.txt"
        parts.ensure(folder / f"litert-{release}", lock.read_text(), functools.partial(_fetch_litert, lock=lock))
        libraries[release] = folder / f"litert-{release}" / "libLiteRt.so"
    progress("runner, instruction counter and tracer")
    names = ("runner.c", "calls.h", "litert_api.h", "profiler.h", "icount.c")
    sources = " ".join(
        sha256_of(path) for path in (*(_SOURCES / name for name in names), _TRACER, _TRACER.with_name("caches.h"))
    )
    parts.ensure(folder / "programs", f"{sources} qemu {version}", lambda place: _build_programs(place, version))
    programs = folder / "programs"
    plugins = (programs / "icount.so", programs / "tracer.so")
    return EmulatorRoot(folder / "root", programs / "runner", *plugins, qemu, libraries, version, codename)


def qemu_version(qemu: Path) -> str:
    """The version that a QEMU binary states, as ``7.2.22``.

    Raises:
        MachineError: it does not start, or states none.
    """
    printed = parts.command([qemu, "--version"], "asking QEMU for its version", "apt-get install --reinstall qemu-user")
    match = re.search(r"version (\d+\.\d+\.\d+)", printed)
    if match is None:
        raise MachineError(f"{qemu} does not say its version: {printed.strip()[:80]!r}")
    return match[1]


def _takes_plugins(qemu: str) -> bool:
    done = subprocess.run([qemu, "-h"], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    return "QEMU_PLUGIN" in done.stdout


def _codename() -> str:
    """The distribution whose packages fill the root: the one that runs here, so that its mirrors and keys are at
    hand.
    """
    try:
        codename = platform.freedesktop_os_release()["VERSION_CODENAME"]
    except (OSError, KeyError) as error:
        raise MachineError("this system does not say its release's codename", hint="use Debian or Ubuntu") from error
    return codename


def _make_root(place: Path, codename: str) -> None:
    # "chrootless" with "extract" unpacks packages and runs none of their scripts, so it needs neither root nor a user
    # namespace.
    how = ["--arch=arm64", "--variant=extract", "--mode=chrootless", "--format=directory"]
    target = place / "unpacked"
    parts.command(
        ["mmdebstrap", *how, "--include=" + ",".join(ROOT_PACKAGES), codename, target],
        f"unpacking the arm64 packages of {codename}",
        "with a network and room on the disk, run again: evit-mobile emulator setup",
    )
    for entry in target.iterdir():
        entry.rename(place / entry.name)
    target.rmdir()
    for name in ("usr/share/doc", "usr/share/man", "usr/share/locale", "var/cache"):
        shutil.rmtree(place / name, ignore_errors=True)
    for name in ("lib", "bin"):
        if not (
            place / name
        ).exists():  # since Debian 13 packages hold /usr alone, and a package that is not unpacked links to it
            (place / name).symlink_to(f"usr/{name}")
    for path in ("lib/ld-linux-aarch64.so.1", "bin/mksh"):
        if not os.path.lexists(place / path):
            raise MachineError(f"the arm64 packages of {codename} hold no /{path}")
    (place / "system" / "bin").mkdir(parents=True)
    (place / "system" / "bin" / "sh").symlink_to("/bin/mksh")
    (place / "data" / "local" / "tmp").mkdir(parents=True)


def _fetch_litert(place: Path, lock: Path) -> None:
    uv = find_uv()
    target = place / "wheel"
    common: list[str | Path] = [
        "--quiet",
        "--no-deps",
        "--require-hashes",
        "--only-binary",
        ":all:",
        "--python-version",
        "3.12",
    ]
    install: list[str | Path]
    if uv is not None:
        install = [uv, "pip", "install", "--python", sys.executable, "--python-platform", "aarch64-manylinux_2_28"]
    else:
        install = [sys.executable, "-m", "pip", "install", "--platform", "manylinux_2_27_aarch64"]
    parts.command(
        [*install, *common, "--target", target, "--requirement", lock],
        "fetching LiteRT for arm64",
        "with a network and room on the disk, run again: evit-mobile emulator setup",
    )
    (target / "ai_edge_litert" / "libLiteRt.so").rename(place / "libLiteRt.so")
    shutil.rmtree(target)


def _build_programs(place: Path, version: str) -> None:
    hint = "apt-get install gcc libc6-dev gcc-aarch64-linux-gnu libc6-dev-arm64-cross"
    arguments: list[str | Path] = ["-O2", "-o", place / "runner", _SOURCES / "runner.c", "-ldl", "-lm"]
    parts.command(["aarch64-linux-gnu-gcc", *arguments], "building the runner", hint)
    # QEMU loads a plugin that claims an interface version in its range: 0 to 1 until release 8.2, at least 2 since 9.0.
    claimed = 1 if int(version.split(".")[0]) < 9 else 2
    flags = ["-O2", "-fPIC", "-shared", "-fvisibility=hidden", f"-DPLUGIN_VERSION={claimed}"]
    parts.command(
        ["gcc", *flags, "-o", place / "icount.so", _SOURCES / "icount.c"], "building the instruction counter", hint
    )
    parts.command(["gcc", *flags, "-o", place / "tracer.so", _TRACER], "building the tracer", hint)


def is_administrator() -> bool:
    """Whether this process may install distribution packages."""
    return os.geteuid() == 0 and shutil.which("apt-get") is not None
