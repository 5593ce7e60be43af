"""Outputs and counts of the emulated processors."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from android_bench.emulator.counting import AGREEMENT
from android_bench.emulator.cpus import CPUS
from android_bench.emulator.qemu import Qemu
from android_bench.emulator.root import LITERT_RELEASES, EmulatorRoot
from android_bench.emulator.runtime import EmulatedRuntime
from benchmarks.peers.arm64_kernels import by_kind
from evit_mobile.errors import RequestError
from evit_mobile.runtimes import RUNTIMES


def test_counter_counts_a_known_loop(root: EmulatorRoot, tmp_path: Path) -> None:
    """Oracle: the assembly. 250,000 turns more are 500,000 instructions more, not one off."""
    program, out = tmp_path / "loop", tmp_path / "counts"
    subprocess.run(
        ["aarch64-linux-gnu-gcc", "-O1", "-static", "-o", program, Path(__file__).with_name("arm64_loop.c")], check=True
    )
    subprocess.run([root.qemu, "-cpu", "cortex-a76", "-plugin", f"{root.plugin},out={out}", program], check=True)
    marks = [int(count) for count in re.findall(r"^mark \d (\d+)$", out.read_text(), re.MULTILINE)]
    assert len(marks) == 4
    assert (marks[3] - marks[2]) - (marks[1] - marks[0]) == 500_000
    assert 2000 < marks[1] - marks[0] < 2100  # the rest is the way into and out of the system calls
    assert int(out.read_text().split()[-1]) > marks[3]


@pytest.mark.parametrize("release", LITERT_RELEASES)
@pytest.mark.parametrize("name", ["cortex-a53", "cortex-a76", "max"])
def test_outputs_are_those_of_the_host(name: str, release: str, root: EmulatorRoot, small_tflite: Path) -> None:
    """Oracle: the same model by LiteRT's kernels for this machine. Sums run in another order: 1e-5 of the largest
    output is ten times what 40 layers of rounding at 2**-24 show.
    """
    image = np.random.default_rng(0).standard_normal((1, 96, 96, 3), np.float32)
    with RUNTIMES["litert"].open(small_tflite) as host:
        [expected] = host.run([image])
        names = host.output_names()
    with EmulatedRuntime(Qemu(root, CPUS[name], release)).open(small_tflite) as session:
        [actual] = session.run([image])
        assert session.output_names() == names
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_counts_repeat_and_follow_the_processor(root: EmulatorRoot, a76: Qemu, small_tflite: Path) -> None:
    counts = [*a76.count(small_tflite, 2), *a76.count(small_tflite, 2)]
    assert max(counts) - min(counts) <= AGREEMENT * min(counts)
    older = Qemu(root, CPUS["cortex-a53"], a76.release).count(small_tflite, 2)
    # XNNPACK's kernels for the A53 load 64 bits at a time, and so need more instructions for the same work.
    assert older[-1] > 1.2 * counts[0]


def test_blocks_are_all_that_is_counted(a76: Qemu, small_tflite: Path) -> None:
    blocks = a76.blocks(small_tflite)
    executed = sum(
        int(size) * int(times) for size, times in re.findall(r"^block [0-9a-f]+ (\d+) (\d+)$", blocks, re.MULTILINE)
    )
    [counted] = a76.count(small_tflite, 1)
    assert executed == pytest.approx(counted, rel=AGREEMENT)
    kinds = by_kind(blocks, a76.library)
    assert sum(kinds.values()) == executed
    # 9 in 10 multiplications of the network are in 1x1 convolutions: their kernel must be found.
    assert kinds["matrix products"] > 0.6 * executed and kinds["depthwise"] > 0 and kinds["hard-swish"] > 0


def test_session_refuses_what_does_not_fit(a76: Qemu, small_tflite: Path) -> None:
    runtime = EmulatedRuntime(a76)
    with runtime.open(small_tflite) as session:
        with pytest.raises(ValueError, match="1 inputs, 0 were given"):
            session.run([])
        with pytest.raises(ValueError, match="takes float32"):
            session.run([np.zeros((1, 96, 96, 3))])
        with pytest.raises(RequestError, match="no latency"):
            session.time_us([], 1)
    with pytest.raises(RequestError, match="one thread with XNNPACK"), runtime.open(small_tflite, threads=2):
        pass


@pytest.mark.parametrize("release", LITERT_RELEASES)
def test_no_model_is_refused(release: str, root: EmulatorRoot, small_tflite: Path, tmp_path: Path) -> None:
    qemu = Qemu(root, CPUS["cortex-a76"], release)
    model = tmp_path / "model.tflite"
    with pytest.raises(RequestError, match="model.tflite cannot be read: No such file"):
        qemu.signature(model)
    cut = small_tflite.read_bytes()[:20_000]
    for content, message in (
        (b"", "is not a .tflite"),
        (b"no model", "is not a .tflite"),
        (cut, "is damaged or truncated"),
    ):
        model.write_bytes(content)
        with pytest.raises(RequestError, match=f"model.tflite {message}"):
            qemu.signature(model)
