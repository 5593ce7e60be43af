"""The ops of one inference with their work: the tracer's segments under the names that the profiler gives them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from android_bench.benchmark_model.op_profile import parse_csv
from android_bench.emulator.qemu import Qemu
from android_bench.estimate.compute import Computing
from android_bench.estimate.devices import DeviceModel
from android_bench.estimate.hollow import hollow, works_alike
from android_bench.estimate.places import Place, places
from android_bench.estimate.timing import Work
from android_bench.estimate.tools import Llvm
from android_bench.estimate.trace import Trace, read
from evit_mobile.errors import DeviceError
from evit_mobile.processes import temporary_folder
from evit_mobile.results.record import OpTime
from evit_mobile.tflite.file import Tflite

#: Names of what runs before, between and after partitions when no op of the runtime's own does.
INVOCATION = "(runtime)"
NOWHERE = Place(None, 0)


def trace(qemu: Qemu, model: Path, device: DeviceModel, *, is_hollow: bool = True) -> tuple[Trace, tuple[OpTime, ...]]:
    """Trace one inference of ``model`` after a first one, and name its ops.

    Args:
        is_hollow: whether the arithmetic is left out where what runs does not depend on it, see ``hollow.py``.

    Raises:
        DeviceError: the run did not end as it should.
    """
    caches = "/".join(f"{cache.bytes}:{cache.ways}" for cache in device.caches)
    library, ops = _profiled(qemu, model, hollow(qemu.library) if is_hollow else qemu.library)
    with temporary_folder() as folder:
        out = folder / "trace"
        qemu.trace(model, caches, out, library)
        if not out.is_file():
            raise DeviceError(f"{model.name} was not traced: QEMU ended without a word of the tracer")
        with out.open(encoding="utf-8") as lines:
            return read(lines).of(library, qemu.library), ops


def _profiled(qemu: Qemu, model: Path, library: Path) -> tuple[Path, tuple[OpTime, ...]]:
    """The model's ops, and the library to trace it with: ``library`` where that does the same as LiteRT's own."""
    if library != qemu.library:
        with contextlib.suppress(DeviceError):  # if the model is at fault, LiteRT's own library says so
            ops = parse_csv(qemu.profile(model, library))
            if works_alike(ops):
                return library, ops
    return qemu.library, parse_csv(qemu.profile(model, qemu.library))


def works_of(
    traced: Trace, ops: Sequence[OpTime], llvm: Llvm, device: DeviceModel, model: Tflite | None = None
) -> list[Work]:
    """One entry per segment of the trace, in the order in which they ran; of what was executed only the computing is
    kept.

    Args:
        model: the file that ran; without it the ops have no blocks and no multiply-accumulates.
    """
    computing = Computing(traced, llvm, device.schedule)
    where = places(ops, model) if model is not None else [NOWHERE] * len(ops)
    segments = segment_names(ops, where)
    if len(segments) != len(traced.segments):
        # Ops that read a clock themselves: the time is right, the names are not known.
        segments = [(f"segment {index}", True, None) for index in range(len(traced.segments))]
    works = []
    for (name, is_op, number), segment in zip(segments, traced.segments, strict=True):
        place = where[number] if number is not None else NOWHERE
        kept = replace(segment, runs={})
        cycles = computing.cycles(segment)
        works.append(Work(name, is_op, kept, traced.instructions(segment), cycles, place.block, place.macs))
    return works


def segment_names(ops: Sequence[OpTime], where: Sequence[Place]) -> list[tuple[str, bool, int | None]]:
    """Name, whether it is a delegated op, and the number of its (first) op in ``ops``, of each segment that the clock's
    readings divide an inference into; ``where`` has the place of each op.

    A partition reads the clock when it starts and after each op; the runner reads it before and after the inference.
    Ops that the runtime runs itself lie in the segment before the next partition starts.
    """
    return [(INVOCATION, False, None), *_inner(ops, where), (INVOCATION, False, None)]


def _inner(ops: Sequence[OpTime], where: Sequence[Place]) -> Iterator[tuple[str, bool, int | None]]:
    outside: list[int] = []
    partition = None
    for number, op in enumerate(ops):
        if op.partition is None:
            outside.append(number)
            continue
        if op.partition != partition:
            yield _between(ops, outside)
            outside, partition = [], op.partition
        yield from [(op.op, True, number)] * where[number].readings
    yield _between(ops, outside)


def _between(ops: Sequence[OpTime], outside: Sequence[int]) -> tuple[str, bool, int | None]:
    names = ", ".join(ops[number].op for number in outside)
    return names or INVOCATION, False, next(iter(outside), None)
