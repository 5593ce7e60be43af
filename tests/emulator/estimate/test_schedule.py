"""Cycles of known code. Oracle: Arm's published figures for these cores."""

from __future__ import annotations

import pytest

from android_bench.estimate.code import assembler
from android_bench.estimate.schedule import Region, Scheduler
from android_bench.estimate.tools import Llvm
from evit_mobile.errors import MachineError

#: Independent instructions, so that pipes are what limits them; registers that follow each other in chains, so that
#: latency does.
TURNS = 64


def _marginal(llvm: Llvm, code: Region) -> float:
    """Cycles per instruction of ``code``, repeated, after as much of it."""
    before, whole = code * TURNS, code * (2 * TURNS)
    cycles = Scheduler(llvm, "neoverse-n1").cycles([before, whole])
    return (cycles[whole] - cycles[before]) / (TURNS * len(code))


@pytest.mark.parametrize(
    ("code", "cycles"),
    [
        # Arm Neoverse N1 Software Optimization Guide: FMLA 2 per cycle, LDR Q 2, STR Q 1, FADD latency 2, ADD 3 per
        # cycle, SDOT 2.
        (tuple(f"fmla v{number}.4s, v30.4s, v31.4s" for number in range(16)), 0.5),
        (tuple(f"ldr q{number}, [x{number}]" for number in range(8)), 0.5),
        (tuple(f"str q{number}, [x{number}]" for number in range(8)), 1.0),
        (("fadd v0.4s, v0.4s, v1.4s",), 2.0),
        (tuple(f"add x{number}, x30, x29" for number in range(12)), 1 / 3),
        (tuple(f"sdot v{number}.4s, v30.16b, v31.16b" for number in range(16)), 0.5),
    ],
    ids=["fmla", "ldr", "str", "fadd chain", "add", "sdot"],
)
def test_pipes_and_latencies_are_the_published_ones(llvm: Llvm, cache: None, code: Region, cycles: float) -> None:
    """Dispatch is four instructions per cycle; 5 % is what begins and ends of 64 turns leave."""
    assert _marginal(llvm, code) == pytest.approx(cycles, rel=0.05)


def test_costs_of_blocks_add_up_to_the_whole(llvm: Llvm, cache: None) -> None:
    """What a block adds after its history telescopes: the sum over blocks is the time of all of them."""
    blocks: list[Region] = [
        ("fmla v0.4s, v1.4s, v2.4s",) * 3,
        ("ldr q1, [x0]", "fadd v2.4s, v1.4s, v1.4s"),
        ("fdiv v3.4s, v3.4s, v1.4s",),
    ]
    histories = [tuple(text for block in blocks[:count] for text in block) for count in range(len(blocks) + 1)]
    cycles = Scheduler(llvm, "neoverse-n1").cycles(histories)
    costs = [cycles[after] - cycles[before] for before, after in zip(histories, histories[1:])]
    assert sum(costs) == cycles[histories[-1]] > 0


def test_unknown_core_is_one_clear_error(llvm: Llvm, cache: None) -> None:
    with pytest.raises(MachineError, match="cortex-a999"):
        Scheduler(llvm, "cortex-a999").cycles([("add x0, x1, x2",)])


@pytest.mark.parametrize(
    ("printed", "expected"),
    [
        ("b.hi\t0x4b4b04 <f+0x40>", "b.hi #0"),
        ("cbz\tx3, 0x4b4b04", "cbz x3, #0"),
        ("tbnz\tw3, #0x2, 0x4b4b04 <f>", "tbnz w3, #0x2, #0"),
        ("bl\t0x1000 <memcpy@plt>", "b #0"),
        ("blr\tx8", "br\tx8"),
        ("adrp\tx0, 0x1000 <g>", "adrp x0, #0"),
        ("ldr\tq0, 0x4b4b04 <f>", "ldr\tq0, #0"),
        ("fmla\tv0.4s, v1.4s, v2.s[0] // comment", "fmla\tv0.4s, v1.4s, v2.s[0]"),
    ],
)
def test_disassembly_becomes_assembly(printed: str, expected: str) -> None:
    assert assembler(printed) == expected
