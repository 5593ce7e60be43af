"""The real runtimes, each in its own environment: they load, run, time, list their ops, and die without taking us
along.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from evit_mobile.errors import MachineError, RequestError
from evit_mobile.runtimes import RUNTIMES, Runtime, Session
from evit_mobile.runtimes.client import Worker, WorkerSession, runtime_command
from evit_mobile.runtimes.foreign import ForeignRuntime

pytestmark = pytest.mark.timeout(900)  # the first use of a runtime downloads and installs it

A = np.arange(6, dtype=np.float32).reshape(1, 2, 3)
B = np.full((1, 2, 3), 0.5, np.float32)


@pytest.fixture(params=RUNTIMES)
def runtime(request: pytest.FixtureRequest, installed: Callable[[str], Runtime]) -> Runtime:
    return installed(request.param)


@pytest.fixture
def foreign(installed: Callable[[str], Runtime]) -> ForeignRuntime:
    """The quickest to start."""
    return cast(ForeignRuntime, installed("tflite-runtime"))


def _ways(runtime: Runtime) -> list[bool]:
    """With XNNPACK, and without where that can be had."""
    return sorted({xnnpack for xnnpack, _ in runtime.configurations}, reverse=True)


def _worker_of(session: object) -> Worker:
    return cast(WorkerSession, session)._worker


def test_all_look_alike(runtime: Runtime, addition: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for xnnpack in _ways(runtime):
        with runtime.open(addition, xnnpack=xnnpack) as session:
            assert [(info.name, info.shape, info.dtype) for info in session.inputs] == [
                ("a", (1, 2, 3), "float32"),
                ("b", (1, 2, 3), "float32"),
            ]
            assert session.output_names() == ["y"]
            (y,) = session.run([A, B])
            np.testing.assert_array_equal(y, A + B)
            _tells_what_it_knows(runtime, session, xnnpack)
            samples = session.time_us([A, B], 7)
            assert len(samples) == 7
            assert all(sample > 0 for sample in samples)
    assert (
        not capfd.readouterr().err
    )  # nothing of the runtime's own words: the first delegate of a process announces itself


def _tells_what_it_knows(runtime: Runtime, session: Session, xnnpack: bool) -> None:
    if not runtime.lists_ops:
        with pytest.raises(ValueError, match="CompiledModel"):
            session.ops()
        with pytest.raises(ValueError, match="CompiledModel"):
            session.tensors()
        assert session.fully_accelerated == (None if runtime.name == "compiled-model" else xnnpack)
        return
    delegates = [op for op in session.ops() if op.name == "DELEGATE"]
    assert [op.name for op in session.ops() if op.name != "DELEGATE"] == ["ADD"]
    assert len(delegates) == int(xnnpack)
    assert {"a", "b", "y"} <= {tensor.name for tensor in session.tensors()}


def test_results_are_the_callers_own(runtime: Runtime, addition: Path) -> None:
    """An output is not a view of memory that the next run writes to."""
    with runtime.open(addition) as session:
        (first,) = session.run([A, B])
        session.run([B, B])
        np.testing.assert_array_equal(first, A + B)
        first += 1  # and may be written to


def test_a_real_model_agrees_with_litert(runtime: Runtime, small_tflite: Path) -> None:
    """1e-4 of the largest logit: the bound that fp32 models are held to against PyTorch."""
    image = np.random.default_rng(0).normal(size=(1, 96, 96, 3)).astype(np.float32)
    with RUNTIMES["litert"].open(small_tflite, xnnpack=False) as session:
        (expected,) = session.run([image])
    for xnnpack, threads in runtime.configurations:
        with runtime.open(small_tflite, xnnpack=xnnpack, threads=threads) as session:
            assert session.output_names() == ["logits"]
            (logits,) = session.run([image])
        assert np.abs(logits - expected).max() <= 1e-4 * np.abs(expected).max()


@pytest.mark.parametrize("inputs", [[A], [A, B, B], [A, B[:, :1]], [A, B.astype(np.float64)]])
def test_inputs_that_do_not_fit(runtime: Runtime, addition: Path, inputs: list[np.ndarray]) -> None:
    with runtime.open(addition) as session:
        with pytest.raises(ValueError):
            session.run(inputs)
        np.testing.assert_array_equal(session.run([A, B])[0], A + B)


def test_files_that_are_no_model(runtime: Runtime, small_tflite: Path, tmp_path: Path) -> None:
    """One clear line each; tflite-runtime 2.14.0 by itself would crash on the one that was cut short."""
    content = small_tflite.read_bytes()
    bad = {"cut": content[:20000], "empty": b"", "foreign": b"\x89PNG\r\n\x1a\n" * 10, "only-the-name": b"\0\0\0\0TFL3"}
    for name, data in bad.items():
        (tmp_path / name).write_bytes(data)
    for name in (*bad, "missing", "."):
        with pytest.raises(RequestError) as caught, runtime.open(tmp_path / name):
            pass
        assert str(tmp_path) in caught.value.message
        assert "\n" not in str(caught.value)


def test_a_model_that_loads_and_cannot_run(runtime: Runtime, dividing_tflite: Path) -> None:
    """An integer division by zero. Newer runtimes refuse, in the kernel's own words or in CompiledModel's;
    tflite-runtime 2.14.0 divides, and is no more.
    """
    zeros, sevens = np.zeros(4, np.int32), np.full(4, 7, np.int32)
    crash = runtime.name == "tflite-runtime"
    refused = (RuntimeError, "DIV|Failed to invoke")
    expected, words = (MachineError, "tflite-runtime 2.14.0 was ended by SIGFPE") if crash else refused
    xnnpack = _ways(runtime)[-1]
    with runtime.open(dividing_tflite, xnnpack=xnnpack) as session:
        with pytest.raises(expected, match=words):
            session.run([zeros])
        if not crash:
            np.testing.assert_array_equal(session.run([sevens])[0], np.ones(4))
    with runtime.open(dividing_tflite, xnnpack=xnnpack) as session:
        np.testing.assert_array_equal(session.run([sevens])[0], np.ones(4))


def test_an_idle_worker_serves_the_next_model(foreign: ForeignRuntime, addition: Path) -> None:
    with foreign.open(addition) as session:
        first = _worker_of(session).pid
        with foreign.open(addition) as other:
            assert _worker_of(other).pid != first
            np.testing.assert_array_equal(other.run([A, B])[0], session.run([A, B])[0])
    with foreign.open(addition) as session:
        again = _worker_of(session).pid
    with pytest.raises(ValueError, match="closed"):
        session.run([A, B])  # its worker may have another model by now
    os.kill(again, signal.SIGKILL)
    time.sleep(0.2)
    with foreign.open(addition) as session:
        np.testing.assert_array_equal(session.run([A, B])[0], A + B)
        assert _worker_of(session).pid != again


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT])
def test_a_worker_that_dies_in_mid_run(foreign: ForeignRuntime, small_tflite: Path, sign: signal.Signals) -> None:
    image = np.zeros((1, 96, 96, 3), np.float32)
    with foreign.open(small_tflite) as session:
        killer = threading.Timer(0.3, os.kill, (_worker_of(session).pid, sign))
        killer.start()
        with pytest.raises(MachineError, match=f"tflite-runtime 2.14.0 was ended by {sign.name}") as caught:
            session.time_us([image], 1_000_000)
        killer.join()
        assert ("memory" in str(caught.value)) == (sign == signal.SIGKILL)
    with foreign.open(small_tflite) as session:
        assert session.run([image])[0].shape == (1, 1000)


def test_a_worker_that_hangs(foreign: ForeignRuntime, addition: Path) -> None:
    impatient = ForeignRuntime(foreign.environment, timeout_s=5.0)
    with impatient.open(addition) as session:
        os.kill(_worker_of(session).pid, signal.SIGSTOP)
        with pytest.raises(MachineError, match="no answer within 5 s"):
            session.run([A, B])


def test_an_interrupt_ends_the_worker_and_nothing_else(foreign: ForeignRuntime, addition: Path) -> None:
    """After Ctrl-C between question and answer the worker must not be asked again: its next answer is to the old
    question.
    """
    with foreign.open(addition) as session:
        worker = _worker_of(session)
        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
        with pytest.raises(KeyboardInterrupt):
            session.time_us([A, B], 100_000_000)
        assert not worker.alive()
    with foreign.open(addition) as session:
        np.testing.assert_array_equal(session.run([A, B])[0], A + B)


def test_last_words_are_told(foreign: ForeignRuntime, tmp_path: Path) -> None:
    """A process that ends before it answers, after a line of information and one of complaint."""
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\necho 'INFO: all is well' >&2\necho 'ERROR: out of luck' >&2\nexit 3\n")
    program.chmod(0o755)
    with pytest.raises(MachineError, match="ended with exit code 3; its last words: ERROR: out of luck"):
        Worker(runtime_command(program, foreign.environment.module), "luckless 1.0")


def test_what_a_runtime_prints_does_not_disturb_the_answers(foreign: ForeignRuntime, tmp_path: Path) -> None:
    """Modules are found beside the worker's Python only, so a chatty one stands in its site-packages."""
    site = next(foreign.environment.path.glob("lib/python*/site-packages"))
    chatty = site / "chatty_interpreter.py"
    chatty.write_text(
        "import os\nprint('hello')\nos.write(1, b'raw bytes')\nfrom tflite_runtime.interpreter import *\n"
    )
    try:
        worker = Worker(runtime_command(foreign.environment.interpreter, "chatty_interpreter"), "chatty")
        assert worker.python.startswith("3.11.")
        worker.kill()
    finally:
        chatty.unlink()


def test_a_module_that_is_missing(foreign: ForeignRuntime) -> None:
    with pytest.raises(MachineError, match="cannot be imported: No module named 'nowhere'"):
        Worker(runtime_command(foreign.environment.interpreter, "nowhere"), "nowhere 0")


def test_no_python_at_all(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="cannot be started: No such file"):
        Worker(runtime_command(tmp_path / "python", "x"), "x 0")
