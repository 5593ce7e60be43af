"""The tracer's counts on a program whose loads, stores and branches are known from its assembly."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from android_bench.emulator.root import EmulatorRoot
from android_bench.estimate.trace import Segment, Trace, read
from evit_mobile.errors import DeviceError

CACHES = "65536:4/524288:8/2097152:16"
LARGE_LINES, SMALL_LINES = (16 << 20) // 64, (32 << 10) // 64


@pytest.fixture(scope="module")
def walk(root: EmulatorRoot, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("walk")
    program, out = folder / "walk", folder / "trace"
    source = Path(__file__).with_name("arm64_walk.c")
    subprocess.run(["aarch64-linux-gnu-gcc", "-O1", "-static", "-o", program, source], check=True)
    plugin = f"{root.tracer},out={out},caches={CACHES}"
    subprocess.run([root.qemu, "-cpu", "cortex-a76", "-plugin", plugin, program], check=True)
    return out.read_text()


@pytest.fixture(scope="module")
def trace(walk: str) -> Trace:
    return read(walk.splitlines())


@pytest.fixture(scope="module")
def segment(trace: Trace) -> Segment:
    [segment] = trace.segments
    return segment


def test_lines_come_from_where_they_are(segment: Segment) -> None:
    """Oracle: arithmetic. Of what was read last time only what the caches hold is left, and the stores took that: all
    of the large array comes from memory, the small part from there once more and then stays. A few lines of stack and
    code come on top.
    """
    l2, l3, memory = segment.levels
    assert 0 <= memory.lines - (LARGE_LINES + SMALL_LINES) < 100
    assert l2.lines + l3.lines < 100
    assert memory.streamed > 0.99 * LARGE_LINES


def test_stored_lines_are_written_and_not_read(segment: Segment) -> None:
    """Oracle: arithmetic. What the caches hold at the end is written later: as many lines as were left there by the
    turn before.
    """
    assert abs(segment.stored - LARGE_LINES) < 100
    assert abs(segment.written - LARGE_LINES) < 100


def test_instructions_and_accesses_are_those_of_the_assembly(trace: Trace, segment: Segment) -> None:
    turns = 2 * (16 << 20) // 16 + 4 * (32 << 10) // 16
    assert 0 <= trace.instructions(segment) - 3 * turns < 1000
    # QEMU loads and stores 16 bytes by two accesses of 8.
    assert 0 <= segment.accesses - 2 * turns < 1000


def test_loops_of_many_turns_mispredict_their_ends_alone(segment: Segment) -> None:
    assert 1 <= segment.mispredicted < 60  # six loops, and what is around them


def test_hot_loop_has_one_context(trace: Trace, segment: Segment) -> None:
    """The first turns of a loop are contexts of their own; all later ones share one, of the loop's block alone."""
    context, times = max(segment.runs.items(), key=lambda item: item[1])
    assert times > 0.99 * LARGE_LINES * 4
    assert len(set(trace.contexts[context][-8:])) == 1


@pytest.mark.parametrize("left", [0, 200, -1])
def test_output_that_was_cut_short_is_refused(walk: str, left: int) -> None:
    lines = walk.splitlines()[:left] if left <= 0 else walk[: len(walk) - left].splitlines()
    with pytest.raises(DeviceError, match="tracer's output"):
        read(lines)
