"""What an emulated program sees of its processor."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from android_bench.emulator.cpus import CORES, CPUS, Cpu, find_cpu, make_prefix
from android_bench.emulator.root import EmulatorRoot
from evit_mobile.errors import RequestError

#: The kernel's own names of the bits of AT_HWCAP and AT_HWCAP2, from libc6-dev-arm64-cross.
HEADER = Path("/usr/aarch64-linux-gnu/include/asm/hwcap.h")


@pytest.fixture(scope="module")
def facts(root: EmulatorRoot, tmp_path_factory: pytest.TempPathFactory) -> Path:
    program = tmp_path_factory.mktemp("facts") / "facts"
    source = Path(__file__).with_name("arm64_facts.c")
    subprocess.run(["aarch64-linux-gnu-gcc", "-static", "-o", program, source], check=True)
    return program


@pytest.mark.parametrize("cpu", CPUS.values(), ids=list(CPUS))
def test_cpuinfo_says_what_the_processor_says(cpu: Cpu, root: EmulatorRoot, facts: Path) -> None:
    """Oracle: the emulated processor's identification register and auxiliary vector."""
    shown = subprocess.run([root.qemu, "-cpu", cpu.model, facts], capture_output=True, text=True, check=True).stdout
    midr, *words = (int(word, 16) for word in shown.split())
    # MIDR_EL1: implementer 31:24, variant 23:20, architecture 19:16, part 15:4, revision 3:0 (Arm ARM, D17.2.100).
    if cpu.emulated_as is None:
        identification = (midr >> 24, midr >> 20 & 15, midr >> 4 & 0xFFF, midr & 15)
        assert (cpu.implementer, cpu.variant, cpu.part, cpu.revision) == identification
    header = HEADER.read_text()
    present = set()
    for prefix, word in zip(("HWCAP", "HWCAP2"), words):
        bits = re.findall(rf"#define {prefix}_(\w+)\s+\(1 << (\d+)\)", header)
        present |= {name.lower() for name, bit in bits if word >> int(bit) & 1}
    assert set(cpu.features) <= present


@pytest.mark.parametrize("cpu", CPUS.values(), ids=list(CPUS))
def test_program_sees_the_processor_and_not_the_host(cpu: Cpu, root: EmulatorRoot) -> None:
    prefix = make_prefix(cpu, root.root)
    read = [root.qemu, "-L", prefix, "-cpu", cpu.model, root.root / "bin/toybox", "cat"]
    files = [
        "/proc/cpuinfo",
        "/sys/devices/system/cpu/possible",
        "/sys/devices/system/cpu/cpu3/topology/core_siblings_list",
    ]
    printed = subprocess.run([*read, *files], capture_output=True, text=True, check=True).stdout
    assert printed == cpu.cpuinfo() + f"0-{CORES - 1}\n" * 2
    assert printed.count(f"CPU part\t: {cpu.part:#05x}\n") == CORES


@pytest.mark.parametrize("name", ["", "cortex-a9", "Cortex-A76", "cortex-a76,2"])
def test_unknown_processor_is_refused_with_the_known_ones(name: str) -> None:
    with pytest.raises(RequestError, match="processor") as refused:
        find_cpu(name)
    assert "cortex-a76" in str(refused.value)
