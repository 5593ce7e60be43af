"""How models and suites are measured, as values."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from android_bench.device import DeviceOptions


@dataclass(frozen=True)
class BenchOptions:
    """How to measure and where the result goes.

    Attributes:
        threads: numbers of threads, each a setting of its own; empty takes the device's default.
        cores: ``all``, a phone's cluster or a hexadecimal mask, each a setting of its own.
        runs, rounds: per model; None takes the device's or the suite's default.
        out: result file, or for several devices the folder; None names it by device and time.
        resume: continue with ``out`` if it is there.
        force: replace ``out``.
        run_timeout_s: longest time of one run; None takes the default of the device or the suite.
        device: options of the device.
    """

    threads: tuple[int, ...] = ()
    cores: tuple[str, ...] = ("all",)
    runs: int | None = None
    rounds: int | None = None
    out: Path | None = None
    resume: bool = False
    force: bool = False
    run_timeout_s: float | None = None
    device: DeviceOptions = DeviceOptions()

    def device_options(self, default_timeout_s: float = DeviceOptions().run_timeout_s) -> DeviceOptions:
        """The device's options, with the longest time of one run."""
        return replace(self.device, run_timeout_s=self.run_timeout_s or default_timeout_s)


@dataclass(frozen=True)
class SuiteOptions:
    """What applies to suites only; None takes the suite's own value, or the default of ``evit-mobile bench``.

    Attributes:
        budget_s: time to measure, of one device.
        up_to: leave out points beyond these tokens or this side.
        memory_limit_bytes: what a model may use.
        jobs: conversions at the same time.
        dask: address of the Dask scheduler to convert on.
    """

    budget_s: float | None = None
    up_to: float | None = None
    memory_limit_bytes: int | None = None
    jobs: int | None = None
    dask: str | None = None
