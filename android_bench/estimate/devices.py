"""The devices whose latency can be estimated: one YAML file each in ``devices/``, every constant with its source."""

from __future__ import annotations

import functools
import hashlib
import re
from importlib import resources
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from android_bench.emulator.cpus import CPUS
from evit_mobile.errors import RequestError

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Text = Annotated[str, Field(min_length=1)]


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Constant(_Entry):
    """A number and where it is from: a publication, a derivation, or ``fitted`` with what it was fitted to."""

    value: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    source: Text


class Cache(_Entry):
    """One level. ``cycles_per_line`` is how long the core takes to stream one 64-byte line from it into the first
    level.
    """

    name: Text
    bytes: Annotated[int, Field(gt=0)]
    ways: Annotated[int, Field(gt=0)]
    cycles_per_line: Annotated[float, Field(ge=0)]
    source: Text


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
    schedule: Text
    clocks_ghz: Annotated[tuple[Positive, ...], Field(min_length=1)]
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
        path = Path(name)
        if not path.is_file():
            raise RequestError(f"there is no device file {path}")
        return load_device(path.read_text(encoding="utf-8"), str(path))
    if not re.fullmatch(r"[a-z0-9][a-z0-9.-]*", name) or name not in names():
        what = f"there is no estimated device {name!r}" if name else "--device estimate names no device"
        raise RequestError(what, hint=f"write estimate: and one of {', '.join(names())}, or the path of a device file")
    return _bundled(name)


def load_device(text: str, origin: str) -> DeviceModel:
    """The device that a YAML document describes; ``origin`` is what an error names.

    Raises:
        RequestError: it does not describe one.
    """
    try:
        return DeviceModel.model_validate(yaml.safe_load(text))
    except yaml.YAMLError as error:
        raise RequestError(f"{origin} is not YAML: {str(error).splitlines()[0]}") from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "the document"
        raise RequestError(f"{origin} does not describe a device: {where}: {first['msg']}") from error


@functools.cache
def _bundled(name: str) -> DeviceModel:
    return load_device((_folder() / f"{name}.yaml").read_text(encoding="utf-8"), f"{name}.yaml")


def _folder() -> resources.abc.Traversable:
    return resources.files("android_bench.estimate") / "devices"
