"""``evit-mobile emulator``."""

from __future__ import annotations

import contextlib
import subprocess
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from evit_mobile.cli.options import force_option, json_option, print_json, progress
from evit_mobile.errors import MachineError, RequestError
from evit_mobile.files import check_output, whole_file

if TYPE_CHECKING:
    from android_bench.emulator.root import EmulatorRoot


@click.group("emulator")
def command() -> None:
    """The emulated Arm64 processors that bench and verify take as --device qemu:CPU."""


@command.command("profile")
@click.argument("file", type=click.Path(path_type=Path), metavar="FILE.tflite")
@click.option("--cpu", default="cortex-a76", metavar="CPU", help="The processor.  [default: cortex-a76]")
@click.option("--runtime", default="litert", metavar="NAME", help="litert or litert-latest.  [default: litert]")
@click.option("--plot", type=click.Path(path_type=Path), help="Write a stacked bar here, as SVG.")
@force_option
@json_option
def profile(file: Path, cpu: str, runtime: str, plot: Path | None, force: bool, as_json: bool) -> None:
    """Show where the instructions of an inference go, block by block.

    The model is cut wherever one tensor alone crosses, and each beginning is counted: minutes for a large model.
    """
    from android_bench.emulator.device import open_qemu
    from android_bench.emulator.profile import profile as profile_model
    from evit_mobile.results.draw.stacked import stacked_bar

    if not file.is_file():
        raise RequestError(f"there is no file {file}")
    if plot is not None:
        check_output(plot, force=force)
    qemu = open_qemu(cpu, runtime)
    with progress(f"counting {file}"):
        layers = profile_model(qemu, file)
    whole = sum(layer.instructions for layer in layers)
    title = f"{file.name}: {whole / 1e6:.1f} M instructions per inference, emulated {qemu.cpu.title}"
    if plot is not None:
        with whole_file(plot) as temporary:
            parts = [(layer.name, layer.instructions / 1e6) for layer in layers]
            temporary.write_text(stacked_bar(parts, title, "million instructions"), encoding="utf-8")
    if as_json:
        print_json(
            {"file": str(file), "processor": cpu, "instructions": whole, "layers": [asdict(layer) for layer in layers]}
        )
        return
    click.echo(title)
    for layer in layers:
        ops = f"{layer.first}" if layer.first == layer.last else f"{layer.first}–{layer.last}"
        click.echo(f"{layer.instructions / 1e6:10.2f} M {layer.instructions / whole:6.1%}  op {ops:9} {layer.name}")


@command.command("setup")
@json_option
def setup(as_json: bool) -> None:
    """Fetch and build what the emulated processors and the estimated devices need, below the cache folder; what is
    there already is checked by hash.

    Needs a few packages of Debian or Ubuntu. As root they are installed; otherwise the command that installs them is
    named.
    """
    from android_bench.emulator.root import is_administrator, missing, missing_packages, prepare
    from android_bench.estimate.tools import PACKAGE
    from android_bench.estimate.tools import missing as missing_llvm

    packages = missing_packages()
    if packages and is_administrator():
        _install(packages)
    if missing_llvm() and is_administrator():
        with contextlib.suppress(MachineError):  # told below: the emulated processors do without
            _install([PACKAGE])
    lacking = missing()
    if lacking:
        for line in lacking[1:]:
            click.echo(f"also: {line}", err=True)
        raise MachineError(
            f"the emulated device cannot be set up: {lacking[0]}", hint="as root, this command installs packages itself"
        )
    with progress("setting up the emulated device") as say:
        root = prepare(say)
    for line in missing_llvm():
        click.echo(f"warning: no estimate: devices: {line}", err=True)
    _report(root, as_json)


def _install(packages: list[str]) -> None:
    """apt-get install, announced on stderr."""
    click.echo(f"installing {' '.join(packages)} (apt-get)", err=True)
    environment = {
        "DEBIAN_FRONTEND": "noninteractive",
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    }
    for arguments in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", *packages]):
        done = subprocess.run(
            ["apt-get", *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
        )
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if line.startswith("E:")] or [
                f"exit code {done.returncode}"
            ]
            raise MachineError(
                f"apt-get {arguments[0]} failed: {lines[0]}", hint=f"install {' '.join(packages)}, then try again"
            )


def _report(root: EmulatorRoot, as_json: bool) -> None:
    from android_bench.emulator.cpus import CPUS
    from android_bench.estimate.devices import names

    if as_json:
        plain = {name: value if isinstance(value, dict) else str(value) for name, value in asdict(root).items()}
        plain["litert"] = {release: str(path) for release, path in root.litert.items()}
        print_json({**plain, "processors": list(CPUS), "estimated_devices": names()})
        return
    releases = " and ".join(root.litert)
    click.echo(
        f"{root.root.parent}: QEMU {root.qemu_version}, arm64 libraries of {root.distribution}, LiteRT {releases}"
    )
    click.echo(f"processors: {', '.join(CPUS)}")
    click.echo(f"estimated devices: {', '.join(names())}")
    click.echo("next: evit-mobile bench --device qemu:cortex-a76 --model base-r224")
