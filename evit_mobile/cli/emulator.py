"""``evit-mobile emulator``."""

from __future__ import annotations

import subprocess
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from evit_mobile.cli.options import json_option, print_json, progress
from evit_mobile.errors import MachineError

if TYPE_CHECKING:
    from android_bench.emulator.root import EmulatorRoot


@click.group("emulator")
def command() -> None:
    """Set up the emulated Arm64 processors that bench and verify take as --device qemu:CPU."""


@command.command("setup")
@json_option
def setup(as_json: bool) -> None:
    """Fetch and build what the emulated processors need, below the cache folder; what is there already is checked by hash.

    Needs a few packages of Debian or Ubuntu. As root they are installed; otherwise the command that installs them is named.
    """
    from android_bench.emulator.root import is_administrator, missing, missing_packages, prepare

    packages = missing_packages()
    if packages and is_administrator():
        _install(packages)
    lacking = missing()
    if lacking:
        for line in lacking[1:]:
            click.echo(f"also: {line}", err=True)
        raise MachineError(f"the emulated device cannot be set up: {lacking[0]}", hint="as root, this command installs the packages itself")
    with progress("setting up the emulated device") as say:
        root = prepare(say)
    _report(root, as_json)


def _install(packages: list[str]) -> None:
    """apt-get install, announced on stderr."""
    click.echo(f"installing {' '.join(packages)} (apt-get)", err=True)
    environment = {"DEBIAN_FRONTEND": "noninteractive", "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
    for arguments in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", *packages]):
        done = subprocess.run(
            ["apt-get", *arguments], env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace"
        )
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if line.startswith("E:")] or [f"exit code {done.returncode}"]
            raise MachineError(f"apt-get {arguments[0]} failed: {lines[0]}", hint=f"install {' '.join(packages)}, then try again")


def _report(root: EmulatorRoot, as_json: bool) -> None:
    from android_bench.emulator.cpus import CPUS

    if as_json:
        plain = {name: value if isinstance(value, dict) else str(value) for name, value in asdict(root).items()}
        plain["litert"] = {release: str(path) for release, path in root.litert.items()}
        print_json({**plain, "processors": list(CPUS)})
        return
    click.echo(f"{root.root.parent}: QEMU {root.qemu_version}, arm64 libraries of {root.distribution}, LiteRT {' and '.join(root.litert)}")
    click.echo(f"processors: {', '.join(CPUS)}")
    click.echo("next: evit-mobile bench --device qemu:cortex-a76 --model base-r224")
