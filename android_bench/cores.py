"""What the host and a phone share about processor cores: instruction sets that matter, and masks of cores."""

from __future__ import annotations

import re
from collections.abc import Iterable

from evit_mobile.errors import RequestError

#: Instruction sets that decide which kernels XNNPACK picks, as Linux spells them in /proc/cpuinfo on x86-64 and Arm64.
INSTRUCTION_SETS = (
    "sse4_1", "avx", "f16c", "fma", "avx2", "avx512f", "avx512bw", "avx512_vnni", "avx512_bf16", "avx512_fp16",
    "avx_vnni", "amx_int8", "amx_tile", "neon", "asimd", "asimdhp", "asimddp", "i8mm", "bf16", "sve",
    "sve2", "sme", "sme2",
)  # fmt: skip


def parse_mask(text: str, hint: str) -> int:
    """A hexadecimal mask as taskset takes it, e.g. ``3`` or ``0xf0``: bit n is core n.

    Args:
        hint: what to write instead, for the error.

    Raises:
        RequestError: the text is not a mask, or the mask is empty.
    """
    if not re.fullmatch(r"(0x)?[0-9a-fA-F]{1,256}", text) or not int(text, 16):
        raise RequestError(f"cores {text!r} is not a set of cores", hint=hint)
    return int(text, 16)


def mask_of(cores: Iterable[int]) -> int:
    """Bit n is core n."""
    return sum(1 << core for core in cores)
