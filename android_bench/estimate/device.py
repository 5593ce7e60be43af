"""The device ``estimate:NAME``."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

from android_bench.device import Device, DeviceOptions
from android_bench.emulator import parts
from android_bench.emulator.device import open_qemu
from android_bench.emulator.qemu import Qemu
from android_bench.emulator.runtime import EmulatedRuntime
from android_bench.estimate.ceilings import ceilings
from android_bench.estimate.devices import DeviceModel, find_device
from android_bench.estimate.kept import kept_works
from android_bench.estimate.timing import OpCost, Work, cost, total_us
from android_bench.estimate.tools import Llvm, find_llvm
from evit_mobile.errors import DeviceError, RequestError
from evit_mobile.results.conditions import Conditions
from evit_mobile.results.estimates import Ceilings, Estimate, OpEstimate, Traffic
from evit_mobile.results.record import Component, Core, DeviceInfo, Round, RunSettings
from evit_mobile.weights import sha256_of


class EstimatedDevice:
    """The device ``estimate:NAME``. A model is traced once, whatever the number of threads that it is estimated for."""

    profiles = True

    def __init__(self, name: str, model: DeviceModel, qemu: Qemu, llvm: Llvm) -> None:
        self._name, self._model, self._qemu, self._llvm = name, model, qemu, llvm
        self._works: dict[str, Future[list[Work]]] = {}

    def describe(self) -> DeviceInfo:
        model = self._model
        return DeviceInfo(
            kind="estimate",
            name=f"estimate:{self._name}",
            soc=model.title,
            abi=model.abi,
            instruction_sets=self._qemu.cpu.features,
            cores=tuple(
                Core(index=index, max_clock_khz=round(clock * 1e6)) for index, clock in enumerate(model.clocks_ghz)
            ),
            os_build=f"LLVM's scheduling model of {model.schedule}, caches and memory by published constants",
            emulated=True,
        )

    def components(self) -> tuple[Component, ...]:
        """What ran the model, what followed it, and the constants that the estimate was made with."""
        qemu, llvm = self._qemu, self._llvm
        root = qemu.root
        return (
            Component(name="ai-edge-litert (arm64)", version=qemu.release, sha256=sha256_of(qemu.library)),
            Component(name="runner", version="built here", sha256=sha256_of(root.runner)),
            Component(name="qemu-aarch64", version=root.qemu_version, sha256=sha256_of(root.qemu)),
            Component(name="tracer", version="built here", sha256=sha256_of(root.tracer)),
            Component(name="llvm-mca", version=llvm.version, sha256=sha256_of(llvm.mca)),
            Component(name="device constants", version=self._name, sha256=self._model.fingerprint),
            Component(name="arm64 libraries", version=root.distribution, sha256=parts.fingerprint(root.root)),
        )

    @contextlib.contextmanager
    def prepare(self, models: Sequence[Path], settings: RunSettings) -> Iterator[PreparedEstimate]:
        """Check the models and start tracing them."""
        self._check(settings)
        for model in models:
            self._qemu.check(model)
        pool = ThreadPoolExecutor(max_workers=len(os.sched_getaffinity(0)))
        try:
            for model in models:
                key = sha256_of(model)
                if key not in self._works:
                    self._works[key] = pool.submit(kept_works, self._qemu, self._llvm, model, self._model)
            yield PreparedEstimate(self._model, dict(self._works), settings.threads, self._ceilings)
        finally:
            with self._qemu.stopped():
                pool.shutdown(cancel_futures=True)
            self._works = {key: works for key, works in self._works.items() if works.done() and not works.cancelled()}

    @functools.cached_property
    def _ceilings(self) -> Ceilings:
        return ceilings(self._model, self._qemu.cpu.features, self._llvm)

    def _check(self, settings: RunSettings) -> None:
        cores = len(self._model.clocks_ghz)
        if settings.threads > cores:
            raise RequestError(
                f"{self._model.title} is modelled with {cores} cores, {settings.threads} threads were asked for"
            )
        if settings.cores != "all":
            raise RequestError(
                "an estimated device has no cores to choose from", hint="name another device, e.g. snapdragon-855-gold"
            )


class PreparedEstimate:
    """An estimated device with its models traced, or being traced.

    Args:
        device: the constants of the estimate.
        works: what each model does, by its file's hash.
        threads: the number of threads to estimate for.
        ceilings: what the core does at most.
    """

    def __init__(
        self, device: DeviceModel, works: Mapping[str, Future[list[Work]]], threads: int, ceilings: Ceilings
    ) -> None:
        self._device, self._works, self._threads, self._ceilings = device, works, threads, ceilings

    def conditions(self) -> Conditions:
        return Conditions(at=datetime.now(UTC))

    def run(self, model: Path) -> Round:
        """The estimate of one inference."""
        costs = self._costs(model)
        time_us, error = total_us(costs), self._device.error.value
        estimate = Estimate(
            estimated_latency_us=time_us,
            low_us=time_us / (1 + error),
            high_us=time_us * (1 + error),
            instructions=sum(op.instructions for op in costs),
            cycles=round(sum(op.cycles for op in costs)),
            wait_cycles=round(sum(op.wait_cycles for op in costs)),
            traffic=_traffic(costs),
            ceilings=self._ceilings,
        )
        return Round(estimate=estimate, cores_mask=f"{(1 << self._threads) - 1:#x}")

    def op_estimates(self, model: Path) -> tuple[OpEstimate, ...]:
        """The estimate of each op, in the order in which they run."""
        return tuple(
            OpEstimate(
                op=op.name,
                delegated=op.is_op,
                estimated_us=op.time_us,
                instructions=op.instructions,
                cycles=round(op.cycles),
                wait_cycles=round(op.wait_cycles),
                traffic=_traffic([op]),
                block=op.block,
                macs=op.macs,
            )
            for op in self._costs(model)
        )

    def _costs(self, model: Path) -> list[OpCost]:
        works = self._works.get(sha256_of(model))
        if works is None:
            raise DeviceError(f"{model.name} was not prepared")
        return [cost(work, self._device, self._threads) for work in works.result()]


def _traffic(costs: Sequence[OpCost]) -> Traffic:
    """Bytes of all ops together; of a core without a third level, none come from it."""
    by_level = [sum(sizes) for sizes in zip(*(op.level_bytes for op in costs), strict=True)]
    return Traffic(
        l2_bytes=by_level[0],
        l3_bytes=sum(by_level[1:-1]),
        memory_bytes=by_level[-1],
        written_bytes=sum(op.written_bytes for op in costs),
    )


def open_device(address: str, options: DeviceOptions) -> Device:
    """The device ``estimate:NAME``, or ``estimate:FILE.yaml`` for a device file.

    Raises:
        RequestError: no such device, a runtime that has no arm64 library here, or a benchmark binary, which cannot be
            traced.
        MachineError: the emulator or LLVM's tools are missing.
    """
    if options.benchmark_binary is not None:
        raise RequestError("an estimate is made with the bundled runner", hint="leave --benchmark-binary out")
    model = find_device(address)
    llvm = find_llvm()
    return EstimatedDevice(address, model, open_qemu(model.processor, options.runtime), llvm)


def open_runtime(address: str, release: str) -> EmulatedRuntime:
    """The processor of the device ``estimate:NAME``, emulated, with that LiteRT release: the arithmetic of its kernels.

    Raises:
        RequestError: no such device, or a runtime that has no arm64 library here.
        MachineError: the emulator cannot be set up.
    """
    return EmulatedRuntime(open_qemu(find_device(address).processor, release))
