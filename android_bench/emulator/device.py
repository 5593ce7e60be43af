"""The device ``qemu:CPU``: instructions per inference on an emulated Arm64 processor. Its clock means nothing."""

from __future__ import annotations

import contextlib
import math
import os
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Iterator, Sequence

from android_bench.benchmark_model.binaries import Program
from android_bench.benchmark_model.binaries import find as find_binary
from android_bench.device import Device, DeviceOptions
from android_bench.emulator import parts
from android_bench.emulator.counting import BenchmarkBinary, Counter, agree, settled
from android_bench.emulator.cpus import CORES, find_cpu
from android_bench.emulator.qemu import Qemu
from android_bench.emulator.root import LITERT_RELEASES, prepare
from evit_mobile.errors import DeviceError, RequestError
from evit_mobile.results.conditions import Conditions
from evit_mobile.results.record import Component, Core, DeviceInfo, Round, RunSettings
from evit_mobile.weights import sha256_of

#: The LiteRT releases by the names that these runtimes have on the host.
RELEASES = dict(zip(("litert", "litert-latest"), LITERT_RELEASES))


class EmulatedDevice:
    """The device ``qemu:CPU``.

    Rounds do not depend on when or beside what they run, so ``prepare`` starts them all, one a host core, and
    ``PreparedEmulator.run`` collects.
    """

    profiles = False

    def __init__(self, qemu: Qemu, program: Program | None = None) -> None:
        """``program`` is the benchmark_model to count by; None takes our runner with LiteRT's library."""
        self._qemu, self._program = qemu, program
        self._counter: Counter = qemu if program is None else BenchmarkBinary(qemu, program.path)

    def describe(self) -> DeviceInfo:
        cpu, root = self._qemu.cpu, self._qemu.root
        return DeviceInfo(
            kind="qemu",
            name=f"qemu:{cpu.name}",
            soc=cpu.title,
            abi="aarch64",
            instruction_sets=cpu.features,
            cores=tuple(Core(index=index) for index in range(CORES)),
            os_build=f"arm64 libraries of {root.distribution}, user-mode QEMU {root.qemu_version}",
            emulated=True,
        )

    def components(self) -> tuple[Component, ...]:
        """What ran the model, QEMU, our counter, the arm64 libraries, and the /proc and /sys that the program saw."""
        qemu = self._qemu
        cpu, root = qemu.cpu, qemu.root
        shown = (
            f"implementer {cpu.implementer:#04x}, part {cpu.part:#05x}, variant {cpu.variant}, revision {cpu.revision}"
        )
        program, ran = self._program, []
        if program is not None:
            ran.append(Component(name="benchmark_model", version=program.version, sha256=program.sha256))
        else:
            ran.append(Component(name="ai-edge-litert (arm64)", version=qemu.release, sha256=sha256_of(qemu.library)))
            ran.append(Component(name="runner", version="built here", sha256=sha256_of(root.runner)))
        return (
            *ran,
            Component(name="qemu-aarch64", version=root.qemu_version, sha256=sha256_of(root.qemu)),
            Component(name="instruction counter", version="built here", sha256=sha256_of(root.plugin)),
            Component(name="arm64 libraries", version=root.distribution, sha256=parts.fingerprint(root.root)),
            Component(
                name="/proc/cpuinfo and /sys/devices/system/cpu", version=shown, sha256=parts.fingerprint(qemu.prefix)
            ),
        )

    @contextlib.contextmanager
    def prepare(self, models: Sequence[Path], settings: RunSettings) -> Iterator[PreparedEmulator]:
        """Check the models and start every round."""
        if settings.threads != 1:
            raise RequestError(
                f"a qemu device runs one thread, {settings.threads} were asked for: several wait for each other in "
                "loops, "
                "and so their counts do not repeat",
                hint="--threads 1",
            )
        if settings.cores != "all":
            raise RequestError("a qemu device has no cores to choose from", hint="leave --cores out")
        for model in models:
            self._counter.check(model)
        inferences = math.ceil(settings.runs / settings.rounds)
        rounds: dict[Path, list[Future[tuple[int, ...]]]] = {}
        pool = ThreadPoolExecutor(max_workers=len(os.sched_getaffinity(0)))
        try:
            for turn in range(settings.rounds):
                for model in models:
                    rounds.setdefault(model, []).append(pool.submit(self._counter.count, model, inferences))
            yield PreparedEmulator(self._counter, rounds)
        finally:
            with self._qemu.stopped():
                pool.shutdown(cancel_futures=True)


class PreparedEmulator:
    """An emulated processor whose rounds have been started.

    Args:
        counter: counts once more where two counts disagree.
        rounds: of each model in the order of its rounds, each giving the counts of one process.
    """

    def __init__(self, counter: Counter, rounds: dict[Path, list[Future[tuple[int, ...]]]]) -> None:
        self._counter, self._rounds = counter, rounds
        self._counted: dict[Path, tuple[int, ...]] = {}

    def conditions(self) -> Conditions:
        return Conditions(at=datetime.now(UTC))

    def run(self, model: Path) -> Round:
        """One process's counts. Where the last two of all rounds so far disagree, one process counts until two
        agree.
        """
        if not self._rounds.get(model):
            raise DeviceError(f"{model.name} was not prepared for another round")
        counts = self._rounds[model].pop(0).result()
        history = (*self._counted.get(model, ()), *counts)
        if not agree(history) and (len(history) > 1 or not self._rounds[model]):
            counts = settled(self._counter, model, len(counts))
        self._counted[model] = (*self._counted.get(model, ()), *counts)
        return Round(instructions=counts, cores_mask="0x1")


def open_device(address: str, options: DeviceOptions) -> Device:
    """The device ``qemu:CPU``, where the emulator is set up or can be.

    Raises:
        RequestError: no such processor, a runtime that has no arm64 library here, or a benchmark binary that is not
            there.
        BenchmarkError: the benchmark binary is not for arm64.
        MachineError: the emulator cannot be set up.
    """
    qemu = open_qemu(address, options.runtime)
    if options.benchmark_binary is None:
        return EmulatedDevice(qemu)
    return EmulatedDevice(qemu, find_binary(options.benchmark_binary, options.benchmark_sha256, ["arm64-v8a"]))


def open_qemu(cpu: str, runtime: str = "litert") -> Qemu:
    """The emulated processor ``cpu`` with the LiteRT release that ``runtime`` names; see ``open_device``."""
    processor = find_cpu(cpu)
    if runtime not in RELEASES:
        raise RequestError(f"the runtime {runtime!r} cannot be emulated", hint=f"--runtime takes {', '.join(RELEASES)}")
    return Qemu(prepare(), processor, RELEASES[runtime])
