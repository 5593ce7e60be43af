"""What a core does at most: the multiply-accumulates per cycle that its scheduling model gives to independent
instructions, and what it reads from memory.
"""

from __future__ import annotations

from collections.abc import Sequence

from android_bench.estimate.devices import DeviceModel
from android_bench.estimate.schedule import Region, Scheduler
from android_bench.estimate.tools import Llvm
from evit_mobile.results.estimates import Ceilings

#: By precision, from the best: the feature of the processor (as /proc/cpuinfo names it), the instruction, and its
#: multiply-accumulates.
_INSTRUCTIONS = {
    "fp32": (("asimd", "fmla v{}.4s, v30.4s, v31.4s", 4),),
    "fp16": (("asimdhp", "fmla v{}.8h, v30.8h, v31.8h", 8),),
    "int8": (
        ("i8mm", "smmla v{}.4s, v30.16b, v31.16b", 32),
        ("asimddp", "sdot v{}.4s, v30.16b, v31.16b", 16),
        ("asimd", "smlal v{}.8h, v30.8b, v31.8b", 8),
    ),
}
#: Independent instructions in turn, and how often.
ACCUMULATORS, TURNS = 16, 32


def ceilings(device: DeviceModel, features: Sequence[str], llvm: Llvm) -> Ceilings:
    """Of the core that is estimated; a precision that it does not compute in is left out.

    Args:
        features: of the processor.

    Raises:
        MachineError: llvm-mca does not know the core.
    """
    chosen = {
        precision: next((entry for entry in known if entry[0] in features), None)
        for precision, known in _INSTRUCTIONS.items()
    }
    code = {name: _turns(entry[1]) for name, entry in chosen.items() if entry is not None}
    cycles = Scheduler(llvm, device.schedule).cycles(region for text in code.values() for region in (text, 2 * text))
    return Ceilings(
        macs_per_cycle={
            name: entry[2] * len(code[name]) / (cycles[2 * code[name]] - cycles[code[name]])
            for name, entry in chosen.items()
            if entry is not None
        },
        memory_bytes_per_cycle=device.memory.read_gb_per_s.value / device.clock_ghz,
    )


def _turns(instruction: str) -> Region:
    return tuple(instruction.format(number) for number in range(ACCUMULATORS)) * TURNS
