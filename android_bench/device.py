"""What a device is to the rest of the program, and the list of kinds.

A device measures; it does no statistics. A new kind is one module with an ``open_device`` and one line in ``KINDS``.
"""

from __future__ import annotations

import importlib
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Callable, Iterator, Protocol, Sequence, cast, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from evit_mobile.errors import DeviceError, RequestError
from evit_mobile.results.conditions import Conditions
from evit_mobile.results.estimates import OpEstimate
from evit_mobile.results.record import Component, DeviceInfo, Limit, OpTime, Round, RunSettings
from evit_mobile.results.timeline import PowerSource

if TYPE_CHECKING:
    from evit_mobile.runtimes import Runtime


class UnusableDeviceError(DeviceError):
    """The device went away or is not fit to be measured: nothing more can be measured on it now, whatever the model."""


class LimitError(DeviceError):
    """A model met a limit, which is a result and not a fault: ``limit`` says which."""

    def __init__(self, limit: Limit, message: str, *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.limit = limit


class Prepared(Protocol):
    """A device that is held for measuring, with the models ready to run. ``Device.prepare`` yields it, and it ends
    with that context.
    """

    def conditions(self) -> Conditions:
        """The state right now: clocks, temperatures, load."""

    def run(self, model: Path) -> Round:
        """One round: load, first inference, warm-up, then at least ``runs / rounds`` measured inferences.

        The conditions before it are the caller's to add, unless the device had to wait for them itself.

        Raises:
            DeviceError: the run did not end as it should; an ``UnusableDeviceError`` where no other would, a
                ``LimitError`` where the device or its options set a limit that the model met.
        """


@runtime_checkable
class Profiler(Prepared, Protocol):
    """A prepared device whose runner has an op profiler."""

    def profile(self, model: Path) -> tuple[OpTime, ...]:
        """Time by op of a run of its own, since the profiler takes time itself; in order of execution.

        Raises:
            DeviceError: the run did not end as it should, or this build of the runner has no profiler.
        """


@runtime_checkable
class OpEstimator(Prepared, Protocol):
    """A prepared device whose latency is estimated, op by op."""

    def op_estimates(self, model: Path) -> tuple[OpEstimate, ...]:
        """The estimate of each op in order of execution.

        Raises:
            DeviceError: the model could not be traced.
        """


@dataclass(frozen=True)
class Pace:
    """How a model is called for a time: without pause, or once every ``period_ns``; ``look_s`` is the time between two
    looks at what was called and at the device's state.
    """

    seconds: float
    look_s: float
    period_ns: int | None = None


@dataclass(frozen=True)
class Calls:
    """What was called since the look before, and the device's state now.

    Attributes:
        start_ns: int64 [N], when each call began, since the first one was due.
        duration_ns: int64 [N].
        until_ns: when the device was looked at, by the clock of the calls.
        power_w: what the device drew since the look before; None where it does not say.
    """

    start_ns: NDArray[np.int64]
    duration_ns: NDArray[np.int64]
    conditions: Conditions
    until_ns: int
    power_w: float | None = None


@dataclass(frozen=True)
class Running:
    """A model that is being called: how it started, and what it was called from then on. ``calls`` raises as
    ``Prepared.run`` does.
    """

    calls: Iterator[Calls]
    init_us: float | None = None
    first_inference_us: float | None = None
    warmup_us: tuple[float, ...] = ()
    cores_mask: str | None = None


@runtime_checkable
class Continuous(Prepared, Protocol):
    """A prepared device that can call a model for minutes and be looked at meanwhile."""

    @property
    def power_source(self) -> PowerSource | None:
        """Where the power comes from that ``Calls`` have; None where the device does not say what it draws."""

    def keep_calling(self, model: Path, pace: Pace) -> AbstractContextManager[Running]:
        """Load and warm up as for a round, then call at ``pace``; leaving ends it.

        Raises:
            DeviceError: as ``run``.
        """


class Device(Protocol):
    """Something that runs a .tflite and says how long, or how many instructions, it took."""

    @property
    def profiles(self) -> bool:
        """Whether ``prepare`` yields a ``Profiler`` or an ``OpEstimator``."""

    def describe(self) -> DeviceInfo:
        """The hardware and its system; asked once, before the first round."""

    def components(self) -> tuple[Component, ...]:
        """The programs and libraries that run the model, with versions and hashes."""

    def prepare(self, models: Sequence[Path], settings: RunSettings) -> AbstractContextManager[Prepared]:
        """Hold the device as ``settings`` want it, with ``models`` ready to run; leaving puts everything back as it
        was.

        Raises:
            RequestError: the device cannot do what ``settings`` ask for, or it cannot load a file.
            DeviceError: the device is absent or fails.
        """


@dataclass(frozen=True)
class DeviceOptions:
    """Options of a device beyond its name; each kind reads those that concern it.

    Attributes:
        runtime: what runs the models on the host.
        benchmark_binary: path or address of the ``benchmark_model`` for a phone or a qemu device; None takes the
            device's own.
        benchmark_sha256: what its hash must be; None takes any.
        max_temperature_celsius: a phone is left to cool to this before each round; None lets only its own throttling
            count.
        cool_timeout_s: how long a phone may take to become fit to be measured.
        run_timeout_s: how long one process may take.
        memory_limit_bytes: on the host, each round runs in a process of its own whose model may use no more than that,
            and no longer than ``run_timeout_s``; None runs them in this process.
        reconnect_s: how long to wait for a phone that went away.
        fixed_performance, stay_awake, governor: set on a phone for the time of measuring; None and False leave things
            as they are.
        clean: leave nothing on a phone afterwards.
        say: gets progress messages for a person to read.
    """

    runtime: str = "litert"
    benchmark_binary: str | None = None
    benchmark_sha256: str | None = None
    max_temperature_celsius: float | None = None
    cool_timeout_s: float = 600.0
    run_timeout_s: float = 600.0
    memory_limit_bytes: int | None = None
    reconnect_s: float = 30.0
    fixed_performance: bool = False
    stay_awake: bool = False
    governor: str | None = None
    clean: bool = False
    say: Callable[[str], None] = lambda text: None


@dataclass(frozen=True)
class DeviceKind:
    """What is known of a device before it is opened.

    Attributes:
        form: how ``--device`` names it.
        module: has ``open_device(address, options)``.
        settings: the default settings of a run.
        has_clock: whether it measures time. Without a clock, counts and estimates repeat, and no time has to be filled.
        shares_our_memory: whether its models run in this machine's memory.
        suite_threads: the default numbers of threads in a suite, if all cores may be used.
        runtime_module: has ``open_runtime(address, release)`` for a device whose outputs can be read; None for others.
    """

    form: str
    module: str
    settings: RunSettings = RunSettings()
    has_clock: bool = True
    shares_our_memory: bool = False
    suite_threads: tuple[int, ...] = (1,)
    runtime_module: str | None = None


class _DeviceModule(Protocol):
    def open_device(self, address: str, options: DeviceOptions) -> Device:
        """The device at ``address``, the text after the colon of ``--device KIND:ADDRESS`` (empty where there is
        none).
        """


class _RuntimeModule(Protocol):
    def open_runtime(self, address: str, release: str) -> Runtime:
        """The device at ``address`` with that LiteRT release."""


#: By the prefix of ``--device``. Modules are imported when a device of their kind is asked for.
KINDS = {
    "host": DeviceKind("host", "android_bench.host", shares_our_memory=True),
    # The paper does not say how many threads it used.
    "adb": DeviceKind("adb[:SERIAL[@host:port]]", "android_bench.phone.device", suite_threads=(1, 4)),
    "estimate": DeviceKind(
        "estimate:NAME",
        "android_bench.estimate.device",
        RunSettings(runs=1, rounds=1, warmup_runs=1, min_time_s=0),
        has_clock=False,
        shares_our_memory=True,
        runtime_module="android_bench.estimate.device",
    ),
    # Counts repeat to the last instruction or nearly; the second round shows it.
    "qemu": DeviceKind(
        "qemu:CPU",
        "android_bench.emulator.device",
        RunSettings(runs=2, rounds=2, warmup_runs=1, min_time_s=0),
        has_clock=False,
        shares_our_memory=True,
        runtime_module="android_bench.emulator.runtime",
    ),
}


def open_device(text: str, options: DeviceOptions = DeviceOptions()) -> Device:
    """The device that ``--device text`` names.

    Raises:
        RequestError: no such kind, or an address that the kind cannot read.
    """
    module = cast(_DeviceModule, importlib.import_module(kind_of(text).module))
    return module.open_device(text.partition(":")[2], options)


def open_runtime(text: str, release: str) -> Runtime:
    """The device that ``--device text`` names, as a runtime whose outputs can be read.

    Args:
        release: the LiteRT release, as ``--runtime`` names it.

    Raises:
        RequestError: no device of that kind can be read, or the kind does not know the address or the release.
        MachineError: it cannot be set up.
    """
    prefix, _, address = text.partition(":")
    module = KINDS[prefix].runtime_module if prefix in KINDS else None
    if module is None:
        forms = ", ".join(kind.form for kind in KINDS.values() if kind.runtime_module is not None)
        raise RequestError(f"the device {text!r} does not return a model's outputs", hint=f"--device takes {forms}")
    return cast(_RuntimeModule, importlib.import_module(module)).open_runtime(address, release)


def kind_of(text: str) -> DeviceKind:
    """The kind of the device that ``--device text`` names.

    Raises:
        RequestError: no such kind.
    """
    kind = text.partition(":")[0]
    if kind not in KINDS:
        known = ", ".join(entry.form for entry in KINDS.values())
        raise RequestError(f"there is no device kind {kind!r}", hint=f"--device takes {known}")
    return KINDS[kind]
