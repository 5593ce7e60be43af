"""A trace of the library without its arithmetic is the trace of the library."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from android_bench.emulator.qemu import Qemu
from android_bench.emulator.root import EmulatorRoot
from android_bench.estimate.devices import find_device
from android_bench.estimate.hollow import emptied, hollow, works_alike
from android_bench.estimate.timing import cost, total_us
from android_bench.estimate.tools import Llvm
from android_bench.estimate.trace import Trace
from android_bench.estimate.works import trace, works_of
from evit_mobile.errors import MachineError
from evit_mobile.results.record import OpTime
from evit_mobile.specs import Precision, Resolution

DEVICE = find_device("snapdragon-855")


def _both(qemu: Qemu, model: Path) -> tuple[Trace, Trace, tuple[OpTime, ...]]:
    (quick, ops), (exact, same) = trace(qemu, model, DEVICE), trace(qemu, model, DEVICE, is_hollow=False)
    assert works_alike(ops) and [op.op for op in ops] == [op.op for op in same]
    return quick, exact, ops


@pytest.fixture
def model(precision: Precision, converted: Callable[..., Path], tmp_path: Path) -> Path:
    """base-r192 at 96x96: matrix products, dense and depthwise convolutions, hard-swish, linear attention. In int8 that
    has layers of dynamic range, too; three convolutions have none.
    """
    if precision is not Precision.INT8:
        return converted("base-r192", resolution=Resolution(96, 96), precision=precision)
    data = tmp_path / "inputs.npz"
    np.savez(data, images=np.random.default_rng(0).random((4, 32, 32, 3), np.float32))
    small = "tests.kits.small_network:make"
    return converted(small, resolution=Resolution(32, 32), precision=precision, calibration=str(data))


@pytest.mark.parametrize("precision", [Precision.FP32, Precision.FP16, Precision.INT8])
def test_traces_are_equal(precision: Precision, a76: Qemu, llvm: Llvm, model: Path) -> None:
    quick, exact, ops = _both(a76, model)
    assert quick.blocks == exact.blocks and quick.contexts == exact.contexts
    assert quick.segments == exact.segments and len(exact.segments) > 5
    if precision is Precision.FP32:
        assert works_of(quick, ops, llvm, DEVICE) == works_of(exact, ops, llvm, DEVICE)


@pytest.mark.parametrize("precision", [Precision.FP32, Precision.FP16])
def test_tables_that_kernels_read_alone_differ(
    precision: Precision, a76: Qemu, llvm: Llvm, converted: Callable[..., Path]
) -> None:
    """Softmax, sigmoid and ELU look up powers of two by the value, in a table of four cache lines at most. What ran is
    the same; a line here and there comes from another level. On so small a network that is less than a thousandth.
    """
    model = converted("tests.kits.small_network:various", resolution=Resolution(32, 32), precision=precision)
    quick, exact, ops = _both(a76, model)
    assert quick.blocks == exact.blocks and quick.contexts == exact.contexts
    pairs = list(zip(quick.segments, exact.segments, strict=True))
    assert all(
        replace(one, levels=other.levels, written=0, stored=0) == replace(other, written=0, stored=0)
        for one, other in pairs
    )
    one, other = (
        total_us([cost(work, DEVICE) for work in works_of(each, ops, llvm, DEVICE)]) for each in (quick, exact)
    )
    assert one == pytest.approx(other, rel=1e-3)


def test_models_with_kernels_that_may_branch_on_values_are_traced_as_they_are() -> None:
    def op(name: str, partition: int | None) -> OpTime:
        return OpTime(op=name, name=f"{name}:0", partition=partition, mean_us=1, calls=1)

    assert works_alike([op("Softmax (NC, F32)", 0), op("TRANSPOSE", None)])
    assert not works_alike([op("Softmax (NC, F32)", 0), op("GATHER", None)])
    assert not works_alike([op("Convert (NC, F32, QD8)", 0)])
    assert not works_alike([op("Fully Connected (NC, QP8, F32, QC8W) GEMM", 0)])


def test_only_the_arithmetic_becomes_moves(root: EmulatorRoot, llvm: Llvm, tmp_path: Path) -> None:
    """Oracle: the assembler and LLVM's disassembler."""
    source, library, copy = Path(__file__).with_name("arm64_arithmetic.s"), tmp_path / "a.so", tmp_path / "b.so"
    flags = ["-march=armv8.6-a+fp16", "-shared", "-nostdlib"]
    subprocess.run(["aarch64-linux-gnu-gcc", *flags, "-o", library, source], check=True)
    copy.write_bytes(emptied(library.read_bytes()))
    before, after = (_disassembled(llvm, path) for path in (library, copy))
    kept = next(index for index, text in enumerate(before) if text.startswith("fmadd"))
    assert kept == 22 and before[kept:] == after[kept:]
    for text, move in zip(before[:kept], after[:kept], strict=True):
        to, first = re.findall(r"v\d+\.\w+", text)[:2]
        width = "8b" if to.endswith((".2s", ".4h")) else "16b"
        assert move == f"mov {to.split('.')[0]}.{width}, {first.split('.')[0]}.{width}"


def _disassembled(llvm: Llvm, path: Path) -> list[str]:
    command = [llvm.objdump, "--disassemble", "--no-show-raw-insn", "--mattr=+all", path]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [re.sub(r"\s+", " ", text).strip() for text in re.findall(r"^\s*[0-9a-f]+:\s+(.*)$", printed, re.MULTILINE)]


def test_the_copy_is_made_once_and_its_path_is_as_long(a76: Qemu) -> None:
    path = hollow(a76.library)
    made = path.stat().st_mtime_ns
    assert hollow(a76.library) == path and path.stat().st_mtime_ns == made
    assert len(str(path)) == len(str(a76.library)) and path.stat().st_size == a76.library.stat().st_size


@pytest.mark.parametrize("content", [b"", b"\x7fELF\x01\x01" + b"\0" * 60, b"MZ" + b"\0" * 60])
def test_what_is_no_library_is_refused(content: bytes) -> None:
    with pytest.raises(MachineError):
        emptied(content)
