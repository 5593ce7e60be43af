"""Which op of the file each op of the delegate is, on a real profile."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from android_bench.benchmark_model.op_profile import parse_csv
from android_bench.emulator.profile import beginning, find_cuts
from android_bench.emulator.qemu import Qemu
from android_bench.estimate.devices import find_device
from android_bench.estimate.kept import kept_works
from android_bench.estimate.places import places
from android_bench.estimate.tools import Llvm
from evit_mobile.results.record import OpTime
from evit_mobile.specs import Resolution
from evit_mobile.tflite.costs import macs_of
from evit_mobile.tflite.delegate_ops import match
from evit_mobile.tflite.file import Tflite
from evit_mobile.tflite.scopes import blocks_of


@pytest.fixture(scope="module")
def profile(a76: Qemu, small_tflite: Path) -> tuple[OpTime, ...]:
    return parse_csv(a76.profile(small_tflite))


def test_every_product_is_found_once(profile: tuple[OpTime, ...], small_tflite: Path) -> None:
    model = Tflite.read(small_tflite)
    matched = match([op.op for op in profile], model.graph)
    known = [index for index in matched if index is not None]
    assert known == sorted(set(known))
    added = {op.op for op, index in zip(profile, matched, strict=True) if index is None}
    assert added <= {"Static Reshape (NC)"}  # what the delegate adds to spatial means
    found = places(profile, model)
    assert sum(place.macs for place in found) == sum(macs_of(op, model.graph) for op in model.graph.ops)
    assert all(place.block for place in found)


def test_instructions_of_blocks_are_those_of_the_cut_model(a76: Qemu, llvm: Llvm, small_tflite: Path) -> None:
    """Oracle: the instruction counter on the model cut after a block. The profiler's instructions, and what the runtime
    does around a shorter model, are 2 %.
    """
    model = Tflite.read(small_tflite)
    blocks = blocks_of(model.graph)
    ends = [cut for cut in find_cuts(model.tree) if blocks.get(cut.last) != blocks.get(cut.last + 1, "")]
    cut = ends[len(ends) // 2]
    shortened = small_tflite.with_name("beginning.tflite")
    shortened.write_bytes(beginning(model.content, cut))
    works = kept_works(a76, llvm, small_tflite, find_device("snapdragon-855"))
    until = next(number for number, work in enumerate(works) if work.block == blocks[cut.last + 1])
    [counted] = a76.count(shortened, 1)
    assert sum(work.instructions for work in works[:until]) == pytest.approx(counted, rel=0.02)


def test_a_concatenation_is_a_copy_of_each_input(a76: Qemu, llvm: Llvm, converted: Callable[..., Path]) -> None:
    """Oracle: the tracer's segments; were their number another, no op would have its name."""
    model = converted("tests.kits.small_network:concatenating", resolution=Resolution(32, 32))
    works = kept_works(a76, llvm, model, find_device("snapdragon-855"))
    assert [work.name for work in works if work.name.startswith("Copy")] == ["Copy (NC, X32)"] * 3
    assert not any(work.name.startswith("segment") for work in works)


def test_another_network_has_no_places(small_tflite: Path) -> None:
    """Ops that are not those of the file are told no place, rather than a wrong one."""
    strangers = [OpTime(op="Softmax (NC, F32)", name="x:0", partition=0, mean_us=1, calls=1)] * 20
    model = Tflite.read(small_tflite)
    assert {(place.block, place.macs) for place in places(strangers, model)} == {(None, 0)}
