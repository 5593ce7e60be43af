"""What an Android device says of itself: SoC, cores, clusters, ABI, release."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Mapping, Sequence

from android_bench.cores import INSTRUCTION_SETS, mask_of, parse_mask
from android_bench.phone.adb import Adb
from android_bench.phone.errors import AdbError
from android_bench.phone.snapdragon import soc_name
from evit_mobile.errors import RequestError
from evit_mobile.results.record import Core, DeviceInfo

#: Everything that is asked once, in one command: it costs a round trip, and a process an item.
_DESCRIBE = """getprop
echo '#files'
grep -sH '' /sys/devices/system/cpu/cpu[0-9]*/cpufreq/cpuinfo_m??_freq /sys/devices/system/cpu/cpu[0-9]*/cpu_capacity
echo '#processors'
cat /proc/cpuinfo
echo '#memory'
cat /proc/meminfo
true"""

_PROPERTY = re.compile(r"^\[([^\]]+)\]: \[(.*)\]$", re.MULTILINE)
_CPU_FILE = re.compile(
    r"^/sys/devices/system/cpu/cpu(\d+)/(?:cpufreq/)?(cpuinfo_max_freq|cpuinfo_min_freq|cpu_capacity):(\d+)$",
    re.MULTILINE,
)


@dataclass(frozen=True)
class Processor:
    """One core: its highest and lowest clock, and the kernel's measure of its speed (1024 is the fastest core's); None
    if unknown.
    """

    index: int
    max_clock_khz: int | None
    min_clock_khz: int | None
    capacity: int | None


@dataclass(frozen=True)
class Cluster:
    """Like cores: ``name`` is prime, big or little; two clusters of middle speed are both big."""

    name: str
    cores: tuple[int, ...]
    max_clock_khz: int | None


@dataclass(frozen=True)
class Facts:
    """What a device says of itself, read once."""

    properties: Mapping[str, str]
    processors: tuple[Processor, ...]
    features: tuple[str, ...]
    memory_bytes: int | None

    def get(self, name: str) -> str:
        """A property; empty where it is not set."""
        return self.properties.get(name, "")

    @property
    def abi(self) -> str:
        return self.get("ro.product.cpu.abi")

    @property
    def abis(self) -> tuple[str, ...]:
        """What it executes, its own ABI first."""
        return (self.abi, *(abi for abi in self.get("ro.product.cpu.abilist").split(",") if abi and abi != self.abi))

    @property
    def model(self) -> str:
        return " ".join(filter(None, [self.get("ro.product.manufacturer"), self.get("ro.product.model")]))

    @property
    def soc(self) -> str:
        return soc_name(self.get("ro.soc.model"), self.get("ro.board.platform"))

    @property
    def is_emulated(self) -> bool:
        """Whether this is an Android emulator, or another system that reports that it is not a phone."""
        if "1" in (self.get("ro.kernel.qemu"), self.get("ro.boot.qemu")):
            return True
        return self.get("ro.hardware") in ("goldfish", "ranchu", "cutf_cvm")

    def describe(self, name: str, serial: str) -> DeviceInfo:
        """For the result file."""
        return DeviceInfo(
            kind="adb",
            name=name,
            serial=serial,
            soc=self.soc,
            abi=self.abi,
            instruction_sets=tuple(feature for feature in INSTRUCTION_SETS if feature in self.features),
            cores=tuple(
                Core(index=processor.index, max_clock_khz=processor.max_clock_khz) for processor in self.processors
            ),
            memory_bytes=self.memory_bytes,
            os_build=f"{self.model}, Android {self.get('ro.build.version.release')}, "
            f"{self.get('ro.build.fingerprint')}",
            emulated=self.is_emulated,
        )


def read_facts(adb: Adb) -> Facts:
    """Ask the device.

    Raises:
        AdbError: it cannot be asked, or does not answer as Android does.
    """
    output = adb.shell(_DESCRIBE)
    properties_text, _, rest = output.stdout.partition("#files\n")
    files, _, rest = rest.partition("#processors\n")
    processors_text, _, memory = rest.partition("#memory\n")
    properties = dict(_PROPERTY.findall(properties_text))
    if not properties.get("ro.product.cpu.abi"):
        raise AdbError(
            f"device {adb.serial} does not answer as Android does", hint="boot it into Android", serial=adb.serial
        )
    by_core: dict[int, dict[str, int]] = {}
    for index, name, value in _CPU_FILE.findall(files):
        by_core.setdefault(int(index), {})[name] = int(value)
    for index in re.findall(r"^processor\s*: (\d+)$", processors_text, re.MULTILINE):
        by_core.setdefault(int(index), {})
    match = re.search(r"^MemTotal:\s+(\d+) kB$", memory, re.MULTILINE)
    features = re.search(r"^(?:Features|flags)\s*: (.*)$", processors_text, re.MULTILINE)
    return Facts(
        properties=properties,
        processors=tuple(
            Processor(core, values.get("cpuinfo_max_freq"), values.get("cpuinfo_min_freq"), values.get("cpu_capacity"))
            for core, values in sorted(by_core.items())
        ),
        features=tuple(features[1].split()) if features else (),
        memory_bytes=int(match[1]) * 1024 if match else None,
    )


def clusters(processors: Sequence[Processor]) -> tuple[Cluster, ...]:
    """Fastest first. Cores belong together that have the same capacity and highest clock.

    One kind of core is ``big``; of two the slower is ``little``; of three and more the fastest is ``prime`` and the
    slowest ``little``.
    """
    groups: dict[tuple[int, int], list[int]] = {}
    for processor in processors:
        groups.setdefault((processor.capacity or 0, processor.max_clock_khz or 0), []).append(processor.index)
    order = sorted(groups, reverse=True)
    names = ["big"] * len(order)
    if len(order) > 1:
        names[-1] = "little"
    if len(order) > 2:
        names[0] = "prime"
    return tuple(Cluster(name, tuple(groups[key]), key[1] or None) for name, key in zip(names, order))


def parse_cores(text: str, processors: Sequence[Processor]) -> int | None:
    """The mask that ``--cores`` names: a cluster, or a hexadecimal mask as taskset's; None for ``all``: as the device
    likes.

    Raises:
        RequestError: the device has no such cluster or core.
    """
    if text == "all":
        return None
    known = clusters(processors)
    if text in ("prime", "big", "little"):
        cores = [core for cluster in known if cluster.name == text for core in cluster.cores]
        if not any(processor.max_clock_khz or processor.capacity for processor in processors):
            raise RequestError(
                f"the device does not say which of its cores are {text}", hint="give all, or a hexadecimal mask: 0xf0"
            )
        if not cores:
            names = ", ".join(f"{cluster.name} ({mask_of(cluster.cores):#x})" for cluster in known)
            raise RequestError(f"the device has no {text} cores", hint=f"it has {names}")
        return mask_of(cores)
    mask = parse_mask(text, "write all, prime, big, little, or a hexadecimal mask: 0xf0")
    everything = mask_of([processor.index for processor in processors])
    if mask & ~everything:
        raise RequestError(
            f"cores {text} asks for a core that the device does not have", hint=f"all of them are {everything:#x}"
        )
    return mask
