"""How long whole commands take, process start included: ``make bench-startup``.

A conversion of base-r224 in fp32 with an empty cache is measured beside the same command of an earlier commit and
beside a litert-torch script that converts the same module, in turn, so that whatever else the machine does meets all
three. The shorter commands follow. Time is the wall clock's; the processor time of each process and its children stands
beside it.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.results_files import write_results
from evit_mobile import __version__
from evit_mobile.results.stats import paired_ratio

ROOT = Path(__file__).resolve().parent.parent
RESULT = ROOT / "benchmarks" / "results" / "startup.md"
#: The commit before start-up was worked on.
BASELINE = "4e87c8e"
CLI = [sys.executable, "-m", "evit_mobile.cli.main"]
MODEL, RESOLUTION = "base-r224", "224"
#: What an unknown name ends in.
REFUSED = 2


@dataclass
class Command:
    """A command, the checkout that it runs in, and its samples in seconds."""

    title: str
    arguments: list[str]
    checkout: Path = ROOT
    exit_code: int = 0
    wall_s: list[float] = field(default_factory=list)
    processor_s: list[float] = field(default_factory=list)

    def run(self) -> None:
        """Once, with an empty cache, in a folder of its own."""
        with tempfile.TemporaryDirectory(prefix="evit-mobile-") as folder:
            environment = {**os.environ, "PYTHONPATH": str(self.checkout), "EVIT_MOBILE_CACHE": f"{folder}/cache"}
            # As in a user's shell: bytecode is kept, and the first rounds, which do not count, write it.
            environment.pop("PYTHONDONTWRITEBYTECODE", None)
            before, start = os.times(), time.perf_counter()
            done = subprocess.run(self.arguments, cwd=folder, env=environment, capture_output=True, text=True)
            wall, after = time.perf_counter() - start, os.times()
        if done.returncode != self.exit_code:
            raise SystemExit(f"{self.title} failed: {done.stderr[-2000:]}")
        self.wall_s.append(round(wall, 3))
        spent = after.children_user + after.children_system - before.children_user - before.children_system
        self.processor_s.append(round(spent, 3))


def conversions(baseline: Path, peers: Path) -> list[Command]:
    """The conversions to compare; ours first, and litert-torch's where its environment is there."""
    convert = [*CLI, "convert", "--model", MODEL, "--out", "model.tflite"]
    script = [str(peers), "-m", "benchmarks.peers.convert_litert_torch", MODEL, RESOLUTION, "model.tflite"]
    commands = [
        Command("convert, cache empty", convert),
        Command(f"convert, cache empty, at {BASELINE}", convert, baseline),
    ]
    return [*commands, Command("a litert-torch script", script)] if peers.exists() else commands


def short_commands() -> list[Command]:
    """Commands that should answer at once."""
    return [
        Command("--help", [*CLI, "--help"]),
        Command("models", [*CLI, "models"]),
        Command(
            "convert of an unknown name", [*CLI, "convert", "--model", "base-r22", "--out", "x.tflite"],
            exit_code=REFUSED,
        ),
    ]  # fmt: skip


def checkout_of_baseline() -> Path:
    """A checkout of BASELINE below build/."""
    folder = ROOT / "build" / "startup" / BASELINE
    if not folder.is_dir():
        subprocess.run(["git", "worktree", "add", "--detach", str(folder), BASELINE], cwd=ROOT, check=True)
    return folder


def measure(commands: list[Command], rounds: int, warm_ups: int) -> None:
    """Run all in turn, A B C, C B A, …; the first rounds warm the disk's cache and are dropped."""
    for number in range(-warm_ups, rounds):
        for command in commands if number % 2 else reversed(commands):
            command.run()
        if number < 0:
            for command in commands:
                command.wall_s.clear()
                command.processor_s.clear()


def report(measured: list[Command], short: list[Command]) -> str:
    """The table for people."""
    lines = [
        "# Start-up",
        "",
        f"evit-mobile {__version__}, {platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python "
        f"{platform.python_version()}. Whole processes, in turn, {len(measured[0].wall_s)} rounds; medians. "
        f"Converted is {MODEL} in fp32. Load average at the end: {os.getloadavg()[0]:.1f}.",
        "",
        "| command | seconds | processor seconds | ours takes |",
        "|---|---:|---:|---:|",
    ]
    for command in measured:
        ratio = paired_ratio([[value] for value in measured[0].wall_s], [[value] for value in command.wall_s])
        interval = f" ({ratio.interval.low:.2f}–{ratio.interval.high:.2f})" if ratio.interval else ""
        own = "" if command is measured[0] else f"{ratio.value:.2f}x{interval}"
        lines.append(_row(command, own))
    lines += [_row(command, "") for command in short]
    return "\n".join(lines) + "\n"


def _row(command: Command, own: str) -> str:
    wall, processor = float(np.median(command.wall_s)), float(np.median(command.processor_s))
    return f"| {command.title} | {wall:.2f} | {processor:.2f} | {own} |"


def main() -> None:
    """Measure and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--warm-ups", type=int, default=1, help="rounds before these, which do not count")
    parser.add_argument(
        "--baseline", type=Path, help=f"a checkout of {BASELINE}; made below build/ where it is not given"
    )
    parser.add_argument(
        "--peers", type=Path, default=ROOT / "build/peers/venv/bin/python", help="litert-torch's Python"
    )
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args()
    measured, short = conversions(options.baseline or checkout_of_baseline(), options.peers), short_commands()
    measure(short, options.rounds, options.warm_ups)
    measure(measured, options.rounds, options.warm_ups)
    document = [
        {"title": item.title, "wall_s": item.wall_s, "processor_s": item.processor_s} for item in [*measured, *short]
    ]
    write_results(options.out, report(measured, short), document)


if __name__ == "__main__":
    main()
