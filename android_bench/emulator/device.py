"""The device ``qemu:CPU``: instructions an inference on an emulated Arm64 processor. It has no clock worth reading."""

from __future__ import annotations

import contextlib
import math
import os
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Iterator, Sequence

from android_bench.device import Device, DeviceOptions
from android_bench.emulator import parts
from android_bench.emulator.cpus import CORES, find_cpu
from android_bench.emulator.qemu import Qemu
from android_bench.emulator.root import LITERT_RELEASES, prepare
from evit_mobile.errors import DeviceError, RequestError
from evit_mobile.results.record import Component, Conditions, Core, DeviceInfo, Round, RunSettings
from evit_mobile.weights import sha256_of

#: The LiteRT releases by the names that these runtimes have on the host.
RELEASES = dict(zip(("litert", "litert-latest"), LITERT_RELEASES))


class EmulatedDevice:
    """The device ``qemu:CPU``.

    Rounds do not depend on when or beside what they run, so ``prepare`` starts them all, one a host core, and ``run`` collects.
    """

    def __init__(self, qemu: Qemu) -> None:
        self._qemu = qemu
        self._rounds: dict[Path, list[Future[tuple[int, ...]]]] = {}

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
        """LiteRT, QEMU, our programs, the arm64 libraries, and the /proc and /sys that the program saw."""
        qemu = self._qemu
        cpu, root = qemu.cpu, qemu.root
        shown = f"implementer {cpu.implementer:#04x}, part {cpu.part:#05x}, variant {cpu.variant}, revision {cpu.revision}"
        return (
            Component(name="ai-edge-litert (arm64)", version=qemu.release, sha256=sha256_of(qemu.library)),
            Component(name="qemu-aarch64", version=root.qemu_version, sha256=sha256_of(root.qemu)),
            Component(name="runner", version="built here", sha256=sha256_of(root.runner)),
            Component(name="instruction counter", version="built here", sha256=sha256_of(root.plugin)),
            Component(name="arm64 libraries", version=root.distribution, sha256=parts.fingerprint(root.root)),
            Component(name="/proc/cpuinfo and /sys/devices/system/cpu", version=shown, sha256=parts.fingerprint(qemu.prefix)),
        )

    def conditions(self) -> Conditions:
        return Conditions(at=datetime.now(UTC))

    @contextlib.contextmanager
    def prepare(self, models: Sequence[Path], settings: RunSettings) -> Iterator[None]:
        """Check the models and start every round."""
        if settings.threads != 1:
            raise RequestError(
                f"a qemu device runs one thread, {settings.threads} were asked for: several wait for each other in loops, "
                "and so their counts do not repeat",
                hint="--threads 1",
            )
        if settings.cores != "all":
            raise RequestError("a qemu device has no cores to choose from", hint="leave --cores out")
        for model in models:
            self._qemu.signature(model)
        inferences = math.ceil(settings.runs / settings.rounds)
        pool = ThreadPoolExecutor(max_workers=len(os.sched_getaffinity(0)))
        try:
            for turn in range(settings.rounds):
                for model in models:
                    self._rounds.setdefault(model, []).append(pool.submit(self._qemu.count, model, inferences))
            yield
        finally:
            with self._qemu.stopped():
                pool.shutdown(cancel_futures=True)
            self._rounds.clear()

    def run(self, model: Path, settings: RunSettings) -> Round:
        if not self._rounds.get(model):
            raise DeviceError(f"{model.name} was not prepared for another round")
        return Round(instructions=self._rounds[model].pop(0).result(), cores_mask="0x1")


def open_device(address: str, options: DeviceOptions) -> Device:
    """The device ``qemu:CPU``, where the emulator is set up or can be.

    Raises:
        RequestError: no such processor, a runtime that has no arm64 library here, or a benchmark binary: the device has its own.
        MachineError: the emulator cannot be set up.
    """
    if options.benchmark_binary is not None:
        raise RequestError("a qemu device counts by a runner of its own", hint="leave --benchmark-binary out")
    return EmulatedDevice(open_qemu(address, options.runtime))


def open_qemu(cpu: str, runtime: str = "litert") -> Qemu:
    """The emulated processor ``cpu`` with the LiteRT release that ``runtime`` names; see ``open_device``."""
    found = find_cpu(cpu)
    if runtime not in RELEASES:
        raise RequestError(f"the runtime {runtime!r} cannot be emulated", hint=f"--runtime takes {', '.join(RELEASES)}")
    return Qemu(prepare(), found, RELEASES[runtime])
