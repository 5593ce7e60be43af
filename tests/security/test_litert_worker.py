"""LiteRT runs in a process of its own: what kills it costs that process alone, and ends with ours."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import numpy as np
import onnx
import psutil
import pytest
from onnx import TensorProto, helper, numpy_helper

from converters.options import ConvertOptions
from converters.pipeline import convert
from converters.quantize.observe import observe
from evit_mobile.arrays import Array
from evit_mobile.cli.main import main
from evit_mobile.errors import RequestError
from evit_mobile.runtimes import RUNTIMES, Runtime
from evit_mobile.runtimes.client import WorkerSession
from evit_mobile.tflite.file import Tflite

LITERT = RUNTIMES["litert"]
IMAGE = np.zeros((1, 96, 96, 3), np.float32)
#: A program that opens argv[1], says its worker's pid, and runs the model until it is ended.
BUSY = """
import sys
from pathlib import Path
import numpy as np
import onnx
from evit_mobile.runtimes import RUNTIMES
with RUNTIMES["litert"].open(Path(sys.argv[1])) as session:
    print(session._worker.pid, flush=True)
    session.time_us([np.zeros((1, 96, 96, 3), np.float32)], 1_000_000)
"""


def _pid(session: object) -> int:
    return cast(WorkerSession, session)._worker.pid


@pytest.mark.parametrize("sign", [signal.SIGSEGV, signal.SIGFPE, signal.SIGABRT])
def test_a_crash_is_one_line_about_the_file(small_tflite: Path, sign: signal.Signals) -> None:
    with pytest.raises(RequestError, match=f"LiteRT crashed on .*tflite: {sign.name}") as caught:
        with LITERT.open(small_tflite) as session:
            assert _pid(session) != os.getpid()
            threading.Timer(0.2, os.kill, (_pid(session), sign)).start()
            session.time_us([IMAGE], 1_000_000)
    assert "\n" not in str(caught.value)
    with LITERT.open(small_tflite) as session:
        assert session.run([IMAGE])[0].shape == (1, 1000)


def test_one_worker_serves_one_model_after_another(small_tflite: Path) -> None:
    with LITERT.open(small_tflite) as session:
        first = _pid(session)
    with LITERT.open(small_tflite, xnnpack=False) as session:
        assert _pid(session) == first


def test_a_worker_has_the_affinity_of_the_caller(small_tflite: Path) -> None:
    with LITERT.open(small_tflite):
        pass
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {max(before)})
        with LITERT.open(small_tflite) as session:
            threads = psutil.Process(_pid(session)).cpu_affinity()
    finally:
        os.sched_setaffinity(0, before)
    assert threads == [max(before)]


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGTERM])
def test_a_worker_ends_with_its_starter_in_mid_run(small_tflite: Path, sign: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", BUSY, str(small_tflite)], stdout=subprocess.PIPE, text=True
    ) as starter:
        assert starter.stdout is not None
        worker = psutil.Process(int(starter.stdout.readline()))
        time.sleep(0.3)
        starter.send_signal(sign)
        starter.wait()
        worker.wait(timeout=30)  # psutil waits for processes that are not our children too


@pytest.fixture(scope="module")
def crashing(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """An ONNX file with a quantisation of scale 0, and its .tflite, which LiteRT crashes on as it computes it."""
    folder = tmp_path_factory.mktemp("crashing")
    source, path = folder / "source.onnx", folder / "crashing.tflite"
    constants = [
        numpy_helper.from_array(np.ones((4, 3, 3, 3), np.float32), "kernel"),
        numpy_helper.from_array(np.array(0, np.float32), "scale"),
        numpy_helper.from_array(np.array(0, np.int8), "zero"),
    ]
    nodes = [
        helper.make_node("Conv", ["x", "kernel"], ["map"], pads=[1, 1, 1, 1]),
        helper.make_node("QuantizeLinear", ["map", "scale", "zero"], ["whole"]),
        helper.make_node("DequantizeLinear", ["whole", "scale", "zero"], ["y"]),
    ]
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, size, 16, 16]) for name, size in (("x", 3), ("y", 4))
    ]
    graph = helper.make_graph(nodes, "stranger", ends[:1], ends[1:], constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), source)
    convert(str(source), path, ConvertOptions(check=False, rewrite=False))
    return source, path


@pytest.mark.parametrize("layers", [[], ["--layers"]])
def test_a_crash_is_one_runtimes_row_where_several_are_asked_for(
    crashing: tuple[Path, Path],
    installed: Callable[[str], Runtime],
    capsys: pytest.CaptureFixture[str],
    layers: list[str],
) -> None:
    installed("tensorflow")
    source, path = crashing
    command = ["verify", str(path), "--model", str(source), *layers]
    for runtimes, code in ((["litert"], 2), (["litert", "tensorflow"], 1)):
        with pytest.raises(SystemExit) as ended:
            main([*command, *(word for name in runtimes for word in ("--runtime", name))])
        captured = capsys.readouterr()
        assert ended.value.code == code and "LiteRT crashed on" in captured.err, captured.err
        assert ("tensorflow" in captured.out) is (code == 1)


def test_a_crash_in_calibration_is_one_line(small_tflite: Path) -> None:
    """Between two images a signal takes the place of a fault of LiteRT's."""

    def images() -> Iterator[Array]:
        yield IMAGE
        for child in psutil.Process().children():
            if any(word.endswith("worker.py") for word in child.cmdline()):
                child.send_signal(signal.SIGSEGV)
        yield IMAGE

    with pytest.raises(RequestError, match="LiteRT crashed on .*SIGSEGV"):
        observe(Tflite.read(small_tflite), images())


def test_a_model_that_is_not_closed_ends_quietly_with_its_program(small_tflite: Path) -> None:
    program = "import sys, evit_mobile\nmodel = evit_mobile.load(sys.argv[1])\n"
    done = subprocess.run(
        [sys.executable, "-c", program, str(small_tflite)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
