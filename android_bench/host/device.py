"""This machine's CPU, with the runtime in a process of its own that times itself."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import math
import os
import platform
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Iterator, Sequence

from android_bench.cores import INSTRUCTION_SETS, mask_of, parse_mask
from android_bench.device import Calls, Pace, Running
from android_bench.host.energy import PackageEnergy
from evit_mobile.errors import DeviceError, RequestError
from evit_mobile.results.conditions import Conditions
from evit_mobile.results.record import Component, Core, DeviceInfo, Round, RunSettings
from evit_mobile.results.timeline import PowerSource
from evit_mobile.runtimes import Runtime, Session
from evit_mobile.runtimes.inputs import random_input
from evit_mobile.runtimes.session import Array

#: Bound on the samples of one round, so that a model of a few microseconds does not fill the result file.
MAX_RUNS_PER_ROUND = 1000


class Host:
    """The device ``host``.

    Args:
        runtime: the runtime that runs the models; it must be installed.
    """

    profiles = False

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self._home = Path(runtime.status().path)

    def describe(self) -> DeviceInfo:
        import psutil

        facts = _cpuinfo()
        flags = facts.get("flags", facts.get("Features", "")).split()
        return DeviceInfo(
            kind="host",
            name="host",
            soc=facts.get("model name") or platform.processor() or platform.machine(),
            abi=platform.machine(),
            instruction_sets=tuple(name for name in INSTRUCTION_SETS if name in flags),
            cores=tuple(Core(index=index, max_clock_khz=_max_clock_khz(index)) for index in range(os.cpu_count() or 1)),
            memory_bytes=int(psutil.virtual_memory().total),
            os_build=_os_build() + (" (virtual machine)" if "hypervisor" in flags else ""),
            emulated=False,
        )

    def components(self) -> tuple[Component, ...]:
        name, _, version = (self.runtime.version() or self.runtime.name).partition(" ")
        return (Component(name=name, version=version, sha256=_native_sha256(name, self._home)),)

    @contextlib.contextmanager
    def prepare(self, models: Sequence[Path], settings: RunSettings) -> Iterator[PreparedHost]:
        """Set the affinity of this thread, and so of those that the runtime starts; load each model once to see that it
        can be.
        """
        with affinity(parse_cores(settings.cores)):
            for model in models:
                with self.runtime.open(model, threads=settings.threads):
                    pass
            yield PreparedHost(self.runtime, settings)


class PreparedHost:
    """``host`` with the affinity set; a round runs in the runtime's own process."""

    def __init__(self, runtime: Runtime, settings: RunSettings) -> None:
        self._runtime, self._settings = runtime, settings
        self._energy = PackageEnergy()

    def conditions(self) -> Conditions:
        import psutil

        clocks = psutil.cpu_freq(percpu=True) or []
        sensors = psutil.sensors_temperatures()
        return Conditions(
            at=datetime.now(UTC),
            load_average_1min=psutil.getloadavg()[0],
            clocks_khz={str(index): round(clock.current * 1000) for index, clock in enumerate(clocks) if clock.current},
            temperatures_celsius={
                f"{chip}.{index}" + (f" {entry.label}" if entry.label else ""): entry.current
                for chip, entries in sensors.items()
                for index, entry in enumerate(entries)
            },
        )

    @property
    def power_source(self) -> PowerSource | None:
        return "package" if self._energy.joules() is not None else None

    @contextlib.contextmanager
    def keep_calling(self, model: Path, pace: Pace) -> Iterator[Running]:
        with self._runtime.open(model, threads=self._settings.threads) as session:
            inputs = _inputs(session)
            with _running(model):
                first_us, warmup_us = _warm_up(session, inputs, self._settings)
            mask = hex(mask_of(os.sched_getaffinity(0)))
            calls = self._calls(model, session, inputs, pace)
            yield Running(calls, session.init_us, first_us, tuple(warmup_us), mask)

    def _calls(self, model: Path, session: Session, inputs: Sequence[Array], pace: Pace) -> Iterator[Calls]:
        since = now = time.monotonic_ns()
        end, frame = since + round(pace.seconds * 1e9), 0
        before = self._energy.joules()
        while now < end:
            until = min(end, now + round(pace.look_s * 1e9))
            with _running(model):
                start_ns, duration_ns = session.calls_ns(inputs, since, until, pace.period_ns, frame)
            if pace.period_ns is not None and len(start_ns):
                frame = int(start_ns[-1]) // pace.period_ns + 1
            # Between two frames that are far apart nothing is called: the rest of the time passes here.
            time.sleep(max(0.0, (until - time.monotonic_ns()) / 1e9))
            took_s = (time.monotonic_ns() - now) / 1e9
            now, after = time.monotonic_ns(), self._energy.joules()
            power_w = (after - before) / took_s if before is not None and after is not None and after > before else None
            before = after
            yield Calls(start_ns, duration_ns, self.conditions(), now - since, power_w)

    def run(self, model: Path) -> Round:
        # Loaded again in each round, as a process on a phone would: where the memory lands is part of what varies
        # between rounds.
        with self._runtime.open(model, threads=self._settings.threads) as session:
            first_us, warmup_us, latency_us = _measure(model, session, self._settings)
            peak = session.peak_memory_bytes()
            init_us = session.init_us
        return Round(
            latency_us=tuple(latency_us),
            init_us=init_us,
            first_inference_us=first_us,
            warmup_us=tuple(warmup_us),
            peak_memory_bytes=peak,
            cores_mask=hex(mask_of(os.sched_getaffinity(0))),
        )


def parse_cores(text: str) -> set[int] | None:
    """The core numbers of a hexadecimal mask as taskset takes it, e.g. ``3`` or ``0xf0``; None for ``all``: as they
    are.

    Raises:
        RequestError: the text is neither, or the mask has a core that this process may not use.
    """
    if text == "all":
        return None
    mask = parse_mask(text, "write all, or a hexadecimal mask: 0x3 is cores 0 and 1")
    cores = {core for core in range(mask.bit_length()) if mask >> core & 1}
    allowed = os.sched_getaffinity(0)
    if not cores <= allowed:
        raise RequestError(
            f"cores {text} asks for core {min(cores - allowed)}, which this process may not use",
            hint=f"all of them are {mask_of(allowed):#x}",
        )
    return cores


@contextlib.contextmanager
def affinity(cores: set[int] | None) -> Iterator[None]:
    """Bind this thread to ``cores`` (None leaves it as it is) and put its affinity back afterwards."""
    if cores is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _measure(model: Path, session: Session, settings: RunSettings) -> tuple[float, list[float], list[float]]:
    """First inference, warm-up and measured samples, all in microseconds."""
    inputs = _inputs(session)
    with _running(model):
        first_us, warmup_us = _warm_up(session, inputs, settings)
        latency_us = session.time_us(inputs, runs_per_round(settings, min([first_us, *warmup_us])))
    return first_us, warmup_us, latency_us


def _inputs(session: Session) -> list[Array]:
    return [random_input(info.shape, info.dtype) for info in session.inputs]


def _warm_up(session: Session, inputs: Sequence[Array], settings: RunSettings) -> tuple[float, list[float]]:
    """First inference and warm-up, in microseconds."""
    [first_us] = session.time_us(inputs, 1)
    return first_us, session.time_us(inputs, settings.warmup_runs)


@contextlib.contextmanager
def _running(model: Path) -> Iterator[None]:
    """What a runtime raises in the body, as a device's error."""
    try:
        yield
    except (RuntimeError, ValueError) as error:
        raise DeviceError(f"{model} was loaded but does not run: {str(error).strip()}") from error


def runs_per_round(settings: RunSettings, expected_us: float) -> int:
    """How many inferences of ``expected_us`` each a round needs for its share of ``runs`` and of ``min_time_s``.

    The share of the time asks for MAX_RUNS_PER_ROUND at most.
    """
    share_us = settings.min_time_s * 1e6 / settings.rounds
    return max(math.ceil(settings.runs / settings.rounds), min(math.ceil(share_us / expected_us), MAX_RUNS_PER_ROUND))


def _cpuinfo() -> dict[str, str]:
    """The fields of the first processor in /proc/cpuinfo; empty where there is no such file."""
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").split("\n\n")[0].splitlines()
    except OSError:
        return {}
    return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}


def _max_clock_khz(core: int) -> int | None:
    try:
        return int(Path(f"/sys/devices/system/cpu/cpu{core}/cpufreq/cpuinfo_max_freq").read_text()) or None
    except (OSError, ValueError):
        return None


def _os_build() -> str:
    try:
        name = platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        name = platform.system()
    return f"{name}, {platform.system()} {platform.release()}"


def _native_sha256(package: str, environment: Path) -> str | None:
    """SHA-256 of a package's native libraries one after the other, in order of their paths; None where it has none
    there.
    """
    sites = [str(path) for path in environment.glob("lib/python*/site-packages")]
    distribution = next(iter(importlib.metadata.distributions(name=package, path=sites)), None)
    libraries = sorted(
        (file for file in (distribution.files if distribution else None) or [] if ".so" in file.suffixes), key=str
    )
    if not libraries:
        return None
    digest = hashlib.sha256()
    for library in libraries:
        with open(str(library.locate()), "rb") as content:
            hashlib.file_digest(content, lambda: digest)
    return digest.hexdigest()
