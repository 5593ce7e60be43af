"""LiteRT runs in a process of its own: what kills it costs that process alone, and ends with ours."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import cast

import numpy as np
import psutil
import pytest

from evit_mobile.errors import RequestError
from evit_mobile.runtimes import RUNTIMES
from evit_mobile.runtimes.client import WorkerSession

LITERT = RUNTIMES["litert"]
IMAGE = np.zeros((1, 96, 96, 3), np.float32)
#: A program that opens argv[1], says its worker's pid, and runs the model until it is ended.
BUSY = """
import sys
from pathlib import Path
import numpy as np
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
