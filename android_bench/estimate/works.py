"""The ops of one inference with their work: the tracer's segments under the names that the profiler gives them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from android_bench.benchmark_model.op_profile import parse_csv
from android_bench.emulator.qemu import Qemu
from android_bench.estimate.compute import Computing
from android_bench.estimate.devices import DeviceModel
from android_bench.estimate.timing import Work
from android_bench.estimate.tools import Llvm
from android_bench.estimate.trace import Trace, read
from evit_mobile.errors import DeviceError
from evit_mobile.processes import temporary_folder
from evit_mobile.results.record import OpTime

#: Names of what runs before, between and after partitions when no op of the runtime's own does.
INVOCATION = "(runtime)"


def trace(qemu: Qemu, model: Path, device: DeviceModel) -> tuple[Trace, tuple[OpTime, ...]]:
    """Trace one inference of ``model`` after a first one, and name its ops.

    Raises:
        DeviceError: the run did not end as it should.
    """
    caches = "/".join(f"{cache.bytes}:{cache.ways}" for cache in device.caches)
    with temporary_folder() as folder, ThreadPoolExecutor(max_workers=1) as pool:
        profile = pool.submit(qemu.profile, model)
        out = folder / "trace"
        qemu.trace(model, caches, out)
        if not out.is_file():
            raise DeviceError(f"{model.name} was not traced: QEMU ended without a word of the tracer")
        with out.open(encoding="utf-8") as lines:
            return read(lines), parse_csv(profile.result())


def works_of(traced: Trace, ops: Sequence[OpTime], llvm: Llvm, device: DeviceModel) -> list[Work]:
    """One entry per segment of the trace, in the order in which they ran; of what was executed only the computing is
    kept.
    """
    computing = Computing(traced, llvm, device.schedule)
    names = segment_names(ops)
    if len(names) != len(traced.segments):
        # Ops that read a clock themselves: the time is right, the names are not known.
        names = [(f"segment {index}", True) for index in range(len(traced.segments))]
    return [
        Work(name, is_op, replace(segment, runs={}), traced.instructions(segment), computing.cycles(segment))
        for (name, is_op), segment in zip(names, traced.segments, strict=True)
    ]


def segment_names(ops: Sequence[OpTime]) -> list[tuple[str, bool]]:
    """Name and whether it is a delegated op, of each segment that the clock's readings divide an inference into.

    A partition reads the clock when it starts and after each op; the runner reads it before and after the inference.
    Ops that the runtime runs itself lie in the segment before the next partition starts.
    """
    return [(INVOCATION, False), *_inner(ops), (INVOCATION, False)]


def _inner(ops: Sequence[OpTime]) -> Iterator[tuple[str, bool]]:
    outside: list[str] = []
    partition = None
    for op in ops:
        if op.partition is None:
            outside.append(op.op)
            continue
        if op.partition != partition:
            yield ", ".join(outside) or INVOCATION, False
            outside, partition = [], op.partition
        yield op.op, True
    yield ", ".join(outside) or INVOCATION, False
