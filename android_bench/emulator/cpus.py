"""The processors that can be emulated, and what a program sees of each in /proc/cpuinfo and /sys.

XNNPACK picks its fp32 kernels by the part number in /proc/cpuinfo, through the cpuinfo library. QEMU 7 shows the host's
file there, in which no Arm64 program can find itself, so every processor would run the same generic kernels. Each
processor therefore gets a folder whose ``proc`` and ``sys`` hold what its kernel would show; given as ``-L``, QEMU
opens a file there rather than the host's.

Part numbers and revisions are those of the MIDR_EL1 register that QEMU gives the processor, features those of its
auxiliary vector (AT_HWCAP): what the program reads there and here agrees. A processor that QEMU does not know is shown
by name over one that it knows and that has the same extensions (``emulated_as``): the cpuinfo library asks for the name
in /proc/cpuinfo alone, and instructions are counted and scheduled from the outside.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from android_bench.emulator import parts
from evit_mobile.errors import RequestError

#: Cores of the machine that is shown: as many as one cluster of a phone.
CORES = 4

_ARMV8_0 = ("fp", "asimd", "aes", "pmull", "sha1", "sha2", "crc32", "cpuid")
_ARMV8_2 = (
    "fp", "asimd", "aes", "pmull", "sha1", "sha2", "crc32", "atomics", "fphp", "asimdhp", "cpuid", "asimdrdm", "lrcpc",
    "dcpop", "asimddp",
)  # fmt: skip
_ARMV9_0 = (*_ARMV8_2, "sve", "sve2", "i8mm", "bf16")


@dataclass(frozen=True)
class Cpu:
    """A processor: its name, its title, the fields of its MIDR_EL1, its features as Linux spells them.

    Attributes:
        options: properties of QEMU's processor that are set.
        emulated_as: QEMU's processor, where it has none of this name.
    """

    name: str
    title: str
    implementer: int
    part: int
    variant: int
    revision: int
    features: tuple[str, ...]
    options: tuple[str, ...] = ()
    emulated_as: str | None = None

    @property
    def model(self) -> str:
        """The processor as QEMU's ``-cpu`` takes it."""
        return ",".join([self.emulated_as or self.name, *self.options])

    def cpuinfo(self) -> str:
        """/proc/cpuinfo of a machine with ``CORES`` of these."""
        fields = (
            ("BogoMIPS", "200.00"),
            ("Features", " ".join(self.features)),
            ("CPU implementer", f"{self.implementer:#04x}"),
            ("CPU architecture", "8"),
            ("CPU variant", f"{self.variant:#x}"),
            ("CPU part", f"{self.part:#05x}"),
            ("CPU revision", str(self.revision)),
        )
        body = "".join(
            f"{name}\t: {value}\n" if name != "CPU architecture" else f"{name}: {value}\n" for name, value in fields
        )
        return "".join(f"processor\t: {core}\n{body}\n" for core in range(CORES))


CPUS = {
    cpu.name: cpu
    for cpu in (
        Cpu("cortex-a53", "Cortex-A53", 0x41, 0xD03, 0, 4, _ARMV8_0),
        Cpu("cortex-a55", "Cortex-A55", 0x41, 0xD05, 2, 0, _ARMV8_2, emulated_as="cortex-a76"),
        Cpu("cortex-a72", "Cortex-A72", 0x41, 0xD08, 0, 3, _ARMV8_0),
        Cpu("cortex-a73", "Cortex-A73", 0x41, 0xD09, 0, 2, _ARMV8_0, emulated_as="cortex-a72"),
        Cpu("cortex-a76", "Cortex-A76", 0x41, 0xD0B, 4, 1, _ARMV8_2),
        Cpu("neoverse-n1", "Neoverse-N1", 0x41, 0xD0C, 4, 1, _ARMV8_2),
        # QEMU's own: every extension that it emulates. Its MIDR_EL1 names no maker, so nothing is tuned to it. SME is
        # off: under QEMU 7.2 the kernels for it in LiteRT 2.1.2 and 2.3.0 give hybrid convolutions (float activations,
        # int8 weights) an error 2.7 times their values, and 0.04 times without SME; no Snapdragon up to the 8 Gen 3 has
        # it.
        Cpu("max", "QEMU max", 0x00, 0x051, 0, 0, _ARMV9_0, ("sme=off",)),
        # Its vectors of SVE have 128 bits; QEMU's have 2048 unless told.
        Cpu("cortex-a715", "Cortex-A715", 0x41, 0xD4D, 1, 0, _ARMV9_0, ("sme=off", "sve-max-vq=1"), emulated_as="max"),
    )
}


def find_cpu(name: str) -> Cpu:
    """The processor of that name.

    Raises:
        RequestError: there is none.
    """
    if name not in CPUS:
        what = f"there is no emulated processor {name!r}" if name else "--device qemu names no processor"
        raise RequestError(what, hint=f"write qemu: and one of {', '.join(CPUS)}")
    return CPUS[name]


def make_prefix(cpu: Cpu, root: Path) -> Path:
    """A folder beside ``root`` for QEMU's ``-L``: the root's libraries under the processor's /proc/cpuinfo and /sys."""
    folder = root.with_name(f"prefix-{cpu.name}")
    files = {"proc/cpuinfo": cpu.cpuinfo(), **_sys_files()}
    parts.ensure(folder, f"{root} {sorted(files.items())}", lambda place: _write(place, files, root))
    return folder


def _sys_files() -> dict[str, str]:
    """One cluster. The clock is there because the host's would show through in its absence; nothing is measured in
    time.
    """
    everyone = f"0-{CORES - 1}\n"
    base = "sys/devices/system/cpu"
    files = {f"{base}/{name}": everyone for name in ("possible", "present", "online")}
    files[f"{base}/kernel_max"] = f"{CORES - 1}\n"
    for core in range(CORES):
        topology = f"{base}/cpu{core}/topology"
        files[f"{topology}/physical_package_id"] = "0\n"
        files[f"{topology}/core_id"] = f"{core}\n"
        for group in ("core_siblings_list", "package_cpus_list", "cluster_cpus_list"):
            files[f"{topology}/{group}"] = everyone
        for group in ("thread_siblings_list", "core_cpus_list"):
            files[f"{topology}/{group}"] = f"{core}\n"
        for bound in ("cpuinfo_min_freq", "cpuinfo_max_freq"):
            files[f"{base}/cpu{core}/cpufreq/{bound}"] = "1000000\n"
    return files


def _write(place: Path, files: dict[str, str], root: Path) -> None:
    for name, text in files.items():
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for name in ("lib", "usr"):
        (place / name).symlink_to(f"../{root.name}/{name}")
