"""``evit-mobile doctor``."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import sys
from dataclasses import asdict, dataclass
from typing import Callable

import click

from evit_mobile import __version__
from evit_mobile.cli.options import json_option, print_json
from evit_mobile.errors import MachineError

#: A conversion of a 1024x2048 model needs this much.
MEMORY_GB = 8
DISK_GB = 1


@dataclass(frozen=True)
class Finding:
    """One thing looked at: ``ok``, what was found, and what to do where it is missing."""

    name: str
    ok: bool
    found: str
    todo: str = ""


def _package(name: str, todo: str) -> Finding:
    try:
        return Finding(name, True, importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        return Finding(name, False, "not installed", todo)


def _python() -> Finding:
    version = platform.python_version()
    return Finding(
        "python",
        (3, 12) <= sys.version_info[:2] < (3, 14),
        f"{version} on {platform.machine()}",
        "use Python 3.12 or 3.13",
    )


def _memory() -> Finding:
    import psutil

    free = psutil.virtual_memory().available / 1e9
    return Finding(
        "memory", free >= MEMORY_GB, f"{free:.0f} GB free", f"the largest models need {MEMORY_GB} GB to convert"
    )


def _disk() -> Finding:
    from evit_mobile.files import cache_folder

    folder = cache_folder("models")
    free = shutil.disk_usage(folder).free / 1e9
    return Finding(
        "cache",
        free >= DISK_GB and os.access(folder, os.W_OK),
        f"{folder.parent}, {free:.0f} GB free",
        "free some space",
    )


def _packages() -> list[Finding]:
    needed = ("torch", "onnx", "onnx2tf", "onnxruntime", "ai-edge-litert")
    rows = [_package(name, "make install") for name in needed]
    return [*rows, _package("timm", "for --model timm:NAME: pip install 'evit-mobile[timm]'")]


def _runtimes() -> list[Finding]:
    from evit_mobile.runtimes import RUNTIMES

    rows = []
    for name, runtime in RUNTIMES.items():
        version = runtime.version()
        rows.append(
            Finding(
                f"runtime {name}",
                version is not None,
                version or "not installed",
                f"evit-mobile runtimes install {name}",
            )
        )
    return rows


def _phone() -> Finding:
    from android_bench.phone.server import find_binary

    try:
        text, ok = str(find_binary()), True
    except MachineError as error:
        text, ok = error.message, False
    return Finding("bench on adb:", ok, text, "apt-get install adb, or Android's platform-tools")


def _emulator() -> Finding:
    from android_bench.emulator import root

    lacking = root.missing()
    return Finding("bench on qemu:", not lacking, "; ".join(lacking) or "can be set up", "evit-mobile emulator setup")


def _estimates() -> Finding:
    from android_bench.emulator import root
    from android_bench.estimate import tools

    lacking = [*root.missing(), *tools.missing()]
    return Finding(
        "bench on estimate:", not lacking, "; ".join(lacking) or "can be set up", "evit-mobile emulator setup"
    )


CHECKS: tuple[Callable[[], Finding | list[Finding]], ...] = (
    _python,
    _memory,
    _disk,
    _packages,
    _runtimes,
    _phone,
    _emulator,
    _estimates,
)


@click.command("doctor")
@json_option
def command(as_json: bool) -> None:
    """Say what is installed and which lanes can run here, and what to do for the others."""
    findings: list[Finding] = []
    for check in CHECKS:
        result = check()
        findings.extend(result if isinstance(result, list) else [result])
    if as_json:
        print_json({"evit_mobile": __version__, "findings": [asdict(finding) for finding in findings]})
        return
    click.echo(f"evit-mobile {__version__}")
    for finding in findings:
        todo = "" if finding.ok else f"  → {finding.todo}"
        click.echo(f"{'ok ' if finding.ok else '-- '} {finding.name:24} {finding.found}{todo}")
