"""ONNX to a .tflite flatbuffer: onnx2tf's direct backend behind one function."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from evit_mobile.errors import MachineError

if TYPE_CHECKING:
    import onnx

#: EfficientViT-Base takes 4 s; a 1024x2048 model under a minute.
TIMEOUT_S = 1800


def lower(model: onnx.ModelProto, *, simplify: bool = False) -> bytes:
    """A float32 .tflite that computes ``model``, NHWC, with a ``serving_default`` signature under the ONNX names.

    ``simplify`` lets onnx2tf run its own graph simplifier first, as its command line does; our passes make that unnecessary.

    Raises:
        MachineError: onnx2tf failed, crashed or hung; its last words are in the message.
    """
    import onnx

    with tempfile.TemporaryDirectory(prefix="evit-mobile-") as name:
        folder = Path(name)
        onnx.save(model, folder / "model.onnx")
        words = _run_worker(folder, simplify)
        results = list((folder / "out").glob("*_float32.tflite"))
        if len(results) != 1:
            raise MachineError(f"onnx2tf made no model: {words or 'no message'}")
        return results[0].read_bytes()


def _run_worker(folder: Path, simplify: bool) -> str:
    """Run onnx2tf in ``folder`` and return the last line that it printed."""
    command = [sys.executable, "-m", "converters.onnx2tf_worker", "model.onnx", "out", *(["--simplify"] if simplify else [])]
    # The worker must find this very package, wherever the user's working directory and PYTHONPATH point.
    paths = [str(Path(__file__).resolve().parent.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONWARNINGS": "ignore"}
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            timeout=TIMEOUT_S, text=True, errors="replace", check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise MachineError(f"onnx2tf did not end within {TIMEOUT_S} s") from error
    lines = [line.strip() for line in done.stdout.splitlines() if line.strip()]
    words = lines[-1] if lines else ""
    if done.returncode < 0:
        raise MachineError(f"onnx2tf was ended by signal {-done.returncode}: {words or 'no message'}", hint="out of memory?")
    if done.returncode:
        raise MachineError(f"onnx2tf failed: {words or f'exit code {done.returncode}'}")
    return words
