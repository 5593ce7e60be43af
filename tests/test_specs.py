"""Values that travel between the stages."""

from __future__ import annotations

import pytest

from android_bench.emulator.cpus import find_cpu
from evit_mobile.specs import Core


@pytest.mark.parametrize(
    ("cpu", "core"),
    [
        ("cortex-a53", Core.ARMV8_0),
        ("cortex-a73", Core.ARMV8_0),
        ("cortex-a55", Core.ARMV8_2),
        ("cortex-a76", Core.ARMV8_2),
        ("cortex-a715", Core.ARMV9),
    ],
)
def test_class_of_a_core_by_its_instruction_sets(cpu: str, core: Core) -> None:
    assert Core.of("arm64-v8a", find_cpu(cpu).features) is core


def test_class_of_a_core_by_its_abi() -> None:
    assert Core.of("x86_64", ()) is Core.X86_64
    assert Core.of("arm64-v8a", ()) is Core.ARMV8_2, "nothing is known of it"
