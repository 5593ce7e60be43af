"""LiteRT's library without its arithmetic on vectors, for a trace that takes a fifth of the time.

QEMU computes vectors of floating point and dot products lane by lane in software: nine tenths of a trace. But a trace
holds which code ran and which addresses it touched, and in the delegate's kernels neither depends on the values that
are computed. So a trace runs a copy of the library in which each of those instructions only moves its first operand to
its destination, which QEMU does at once. All else stays: every address, branch, load and store, and the scheduling
model is given the instructions of the original. Scalars and comparisons are still computed, as sizes and indices
come of them.

Two kinds of ops may branch on values, and a model with one is traced with the original: ops that the delegate leaves to
TFLite's own kernels, unless they only move data, and those that find the range of each row of their input to make it
int8.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from android_bench.emulator import parts
from evit_mobile.errors import MachineError
from evit_mobile.results.record import OpTime
from evit_mobile.weights import sha256_of

#: Mask and value of the instructions that are emptied (Arm Architecture Reference Manual, C4.1, Advanced SIMD).
_ENCODINGS = (
    # FMLA, FMLS in single and double precision
    *((0xBFA0FC00, value) for value in (0x0E20CC00, 0x0EA0CC00)),
    # FMLA, FMLS, FADD, FSUB, FMUL, FDIV, FMAX, FMIN, FMAXNM, FMINNM in half precision
    *((0xBFE0FC00, value) for value in (0x0E400C00, 0x0EC00C00, 0x0E401400, 0x0EC01400, 0x2E401C00, 0x2E403C00)),
    *((0xBFE0FC00, value) for value in (0x0E403400, 0x0EC03400, 0x0E400400, 0x0EC00400)),
    # FMLA, FMLS by an element: single and double precision, half
    *((0xBF80F400, value) for value in (0x0F801000, 0x0F805000)),
    *((0xBFC0F400, value) for value in (0x0F001000, 0x0F005000, 0x0F009000)),
    # SDOT, SDOT by an element, SMMLA
    (0xBFE0FC00, 0x0E809400),
    (0xBFC0F400, 0x0F80E000),
    (0xFFE0FC00, 0x4E80A400),
)
#: ORR of a register with itself, and the bit of 128-bit vectors, which it keeps.
_MOVE, _WIDE = 0x0EA01C00, 0x40000000
_LOADED, _EXECUTABLE = 1, 1  # type and flag of a part of a file, by the ELF standard

#: Ops outside the delegate that only move data, by places that do not depend on it.
_MOVING = frozenset(
    ("CONCATENATION", "EXPAND_DIMS", "PACK", "PAD", "PADV2", "RESHAPE", "SLICE", "SPLIT", "SPLIT_V", "SQUEEZE",
     "STRIDED_SLICE", "TRANSPOSE", "UNPACK")
)  # fmt: skip

Words = npt.NDArray[np.uint32]
#: In the names of the delegate's ops: input that is made int8 row by row, alone and as Arm's KleidiAI packs it.
_RANGED = ("QD8", "QP8")


def works_alike(ops: Sequence[OpTime]) -> bool:
    """Whether an inference of these ops executes the same whatever it computes."""
    return all(op.op in _MOVING if op.partition is None else not any(kind in op.op for kind in _RANGED) for op in ops)


def hollow(library: Path) -> Path:
    """The copy of ``library``, beside it, and made if need be. Its path is as long, because the loader allocates by it.

    Raises:
        MachineError: the library is not what it should be.
    """
    folder = library.parent
    beside = folder.with_name(folder.name.replace("litert", "hollow"))

    def make(place: Path) -> None:
        (place / library.name).write_bytes(emptied(library.read_bytes()))

    parts.ensure(beside, f"{sha256_of(library)} {sha256_of(Path(__file__))}", make)
    return beside / library.name


def emptied(content: bytes) -> bytes:
    """An arm64 ELF file with the instructions of ``_ENCODINGS`` turned into moves.

    Raises:
        MachineError: it is no such file.
    """
    if content[:6] != b"\x7fELF\x02\x01":
        raise MachineError("LiteRT's library for arm64 is not an ELF file of 64 bits")
    (headers,) = struct.unpack_from("<Q", content, 32)
    header_bytes, count = struct.unpack_from("<HH", content, 54)
    changed = bytearray(content)
    for index in range(count):
        kind, flags, start = struct.unpack_from("<IIQ", content, headers + index * header_bytes)
        (length,) = struct.unpack_from("<Q", content, headers + index * header_bytes + 32)
        if kind == _LOADED and flags & _EXECUTABLE:
            code = np.frombuffer(content, np.uint32, length // 4, start)
            changed[start : start + 4 * len(code)] = _emptied(code).tobytes()
    return bytes(changed)


def _emptied(code: Words) -> Words:
    is_arithmetic = np.logical_or.reduce([code & mask == value for mask, value in _ENCODINGS])
    first = code >> 5 & 31
    return np.where(is_arithmetic, code & _WIDE | _MOVE | first << 16 | first << 5 | code & 31, code)
