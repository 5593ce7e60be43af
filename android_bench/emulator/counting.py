"""Instructions per inference: what counts them, and when a count is settled."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, Sequence

from android_bench.benchmark_model.output import BenchmarkError, Request, parse
from android_bench.emulator.qemu import TIMEOUT_S, Qemu
from evit_mobile.errors import DeviceError
from evit_mobile.processes import temporary_folder
from evit_mobile.tflite.flatbuffer import read_whole

#: Two counts agree when they differ by no more than this part of the smaller.
AGREEMENT = 0.001
#: A count that does not settle is tried again with twice the inferences, this often in all.
TRIES = 3


class Counter(Protocol):
    """Something that counts a model's instructions on an emulated processor."""

    def check(self, model: Path) -> None:
        """Raise RequestError where ``model`` cannot be loaded."""

    def count(self, model: Path, inferences: int) -> tuple[int, ...]:
        """Instructions of each of ``inferences`` inferences after a first one, on one thread.

        Raises:
            DeviceError: the run did not end as it should.
        """


class BenchmarkBinary:
    """Counts by a ``benchmark_model`` for arm64 Linux, which does not say where an inference begins.

    A process that ran one inference more executed one inference's instructions more: a count is the difference of two
    processes.
    """

    def __init__(self, qemu: Qemu, program: Path) -> None:
        self._qemu, self._program = qemu, program.absolute()

    def check(self, model: Path) -> None:
        """Raise RequestError if ``model`` is not a complete .tflite; whether the program can load it is seen when
        it runs.
        """
        read_whole(model)

    def count(self, model: Path, inferences: int) -> tuple[int, ...]:
        """As ``Counter.count``: ``inferences`` differences, of one process more."""
        ends = [self._instructions(model, runs) for runs in range(1, inferences + 2)]
        differences = tuple(after - before for before, after in zip(ends, ends[1:]))
        if min(differences) <= 0:
            raise DeviceError(
                f"{self._program} did not execute more instructions for more inferences of {model.name}: {ends}"
            )
        return differences

    def _instructions(self, model: Path, runs: int) -> int:
        """All that a process executed which ran ``model`` once and then ``runs`` times."""
        flags = Request(str(model.absolute()), threads=1, runs=runs, min_time_s=0, warmup_runs=1).flags()
        with temporary_folder() as folder:
            out = folder / "counts"
            done = self._qemu.execute(
                self._program, [*flags, f"--max_secs={TIMEOUT_S:g}"], model, before=self._qemu.counting(out)
            )
            words = out.read_text().split() if out.exists() else []
        # QEMU says what a shell says of a program that a signal ended: 128 and its number.
        parse(done.stdout, done.stderr, done.exit_code if done.exit_code >= 0 else 128 - done.exit_code, runs)
        if words[-2:-1] != ["end"]:
            raise BenchmarkError(f"the instructions of {self._program} were not counted to its end")
        return int(words[-1])


def agree(counts: Sequence[int]) -> bool:
    """Whether there are two counts, and the last two differ by at most ``AGREEMENT``."""
    low, high = min(counts[-2:]), max(counts[-2:])
    return len(counts) > 1 and high - low <= AGREEMENT * low


def settled(counter: Counter, model: Path, inferences: int = 2) -> tuple[int, ...]:
    """Counts of at least ``inferences`` inferences in one process, of which the last two agree.

    Raises:
        DeviceError: a run did not end as it should, or the counts do not settle.
    """
    count = max(inferences, 2)
    for _ in range(TRIES):
        counts = counter.count(model, count)
        if agree(counts):
            return counts
        count *= 2
    raise DeviceError(
        f"the instructions of {model.name} do not settle: {counts[-2]} and {counts[-1]} in the last two of "
        f"{len(counts)} inferences",
        hint="does the model do the same work every time?",
    )
