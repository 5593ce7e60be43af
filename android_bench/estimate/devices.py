"""The devices whose latency can be estimated: one YAML file each in ``devices/``, every constant with its source."""

from __future__ import annotations

import functools
import hashlib
import re
from importlib import resources
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from android_bench.emulator.cpus import CPUS
from evit_mobile.documents import LARGEST_YAML, first_fault, read_limited, yaml_fields
from evit_mobile.errors import RequestError

#: Bounds that no core reaches, and within which the tracer's tables fit into memory.
Clock = Annotated[float, Field(gt=0, le=100, allow_inf_nan=False)]
Factor = Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]
Text = Annotated[str, Field(min_length=1, max_length=1000)]
#: As LLVM writes the name of a core.
CoreName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{0,63}$")]
LINE_BYTES = 64


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Constant(_Entry):
    """A number and where it is from: a publication, a derivation, or ``fitted`` with what it was fitted to."""

    value: Factor
    source: Text


class Cache(_Entry):
    """One level. ``cycles_per_line`` is how long the core takes to stream one 64-byte line from it into the first
    level.
    """

    name: Text
    bytes: Annotated[int, Field(gt=0, le=2**28)]
    ways: Annotated[int, Field(gt=0, le=64)]
    cycles_per_line: Factor
    source: Text

    @model_validator(mode="after")
    def _has_sets(self) -> Cache:
        if self.bytes % (LINE_BYTES * self.ways):
            raise ValueError(f"bytes is a multiple of {LINE_BYTES} times ways")
        return self


class Memory(_Entry):
    """Main memory: how fast one core streams from it and writes to it, and how fast all cores together, in GB/s."""

    read_gb_per_s: Constant
    write_gb_per_s: Constant
    all_cores_gb_per_s: Constant


class DeviceModel(_Entry):
    """A core and its memory, as far as the estimate knows them.

    Attributes:
        title: the chip and the core, as tables and result files name it.
        processor: the emulated processor whose kernels XNNPACK picks.
        schedule: LLVM's scheduling model, as ``llvm-mca -mcpu`` takes it.
        clocks_ghz: of the cores that threads run on, in the order in which threads fill them; the first one alone is
            what is estimated.
        caches: from the first level to the last.
        mispredict_cycles: from a wrong prediction until instructions arrive again.
        overlap_power: how computing and waiting for memory overlap within an op: cycles = (compute^p + wait^p)^(1/p). 1
            is no overlap, a large value perfect overlap.
        parallel_efficiency: from two threads on, the share of the cores' summed clocks that an op's work gets.
        thread_us: what starting and joining the threads of an op takes, from two threads on.
        error: the largest leave-one-out error over published latencies of this core, as a share: the interval of each
            estimate.
    """

    title: Text
    processor: Text
    schedule: CoreName
    clocks_ghz: Annotated[tuple[Clock, ...], Field(min_length=1, max_length=64)]
    clocks_source: Text
    caches: Annotated[tuple[Cache, ...], Field(min_length=2, max_length=4)]
    memory: Memory
    mispredict_cycles: Constant
    overlap_power: Constant
    parallel_efficiency: Constant
    thread_us: Constant
    error: Constant
    abi: Literal["arm64-v8a"] = "arm64-v8a"

    @model_validator(mode="after")
    def _is_consistent(self) -> DeviceModel:
        if self.processor not in CPUS:
            raise ValueError(f"processor is one of {', '.join(CPUS)}")
        if self.overlap_power.value < 1:
            raise ValueError("overlap_power is at least 1")
        return self

    @property
    def fingerprint(self) -> str:
        """SHA-256 of all constants."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()

    @property
    def clock_ghz(self) -> float:
        """Of the core that is estimated."""
        return self.clocks_ghz[0]


def names() -> list[str]:
    """The devices that come with the program, sorted."""
    return sorted(entry.name.removesuffix(".yaml") for entry in _folder().iterdir() if entry.name.endswith(".yaml"))


def find_device(name: str) -> DeviceModel:
    """The device of that name, or of the YAML file at that path.

    Raises:
        RequestError: there is none, or the file does not describe one.
    """
    if name.endswith((".yaml", ".yml")):
        return load_device(read_limited(Path(name), "device file", LARGEST_YAML), name)
    if not re.fullmatch(r"[a-z0-9][a-z0-9.-]*", name) or name not in names():
        what = f"there is no estimated device {name!r}" if name else "--device estimate names no device"
        raise RequestError(what, hint=f"write estimate: and one of {', '.join(names())}, or the path of a device file")
    return _bundled(name)


def load_device(content: bytes, origin: str) -> DeviceModel:
    """The device that a YAML document describes; ``origin`` is what an error names.

    Raises:
        RequestError: it does not describe one.
    """
    try:
        return DeviceModel.model_validate(yaml_fields(content, origin, "device file"))
    except ValidationError as error:
        raise RequestError(f"{origin} does not describe a device: {first_fault(error)}") from error


@functools.cache
def _bundled(name: str) -> DeviceModel:
    return load_device((_folder() / f"{name}.yaml").read_bytes(), f"{name}.yaml")


def _folder() -> resources.abc.Traversable:
    return resources.files("android_bench.estimate") / "devices"
