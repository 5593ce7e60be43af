"""ONNX to a .tflite flatbuffer: onnx2tf's direct backend behind one call."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from evit_mobile.errors import MachineError

if TYPE_CHECKING:
    import onnx

#: EfficientViT-Base takes 4 s; a 1024x2048 model under a minute.
TIMEOUT_S = 1800


class Lowering:
    """A process that loads onnx2tf as soon as the context is entered, and lowers one model.

    Args:
        simplify: let onnx2tf run its own graph simplifier first, as its command line does; our passes make that unnecessary.
    """

    def __init__(self, *, simplify: bool = False) -> None:
        self._flags = ["--simplify"] if simplify else []

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory(prefix="evit-mobile-")
        # The worker must find this very package, wherever the user's working directory and PYTHONPATH point.
        paths = [str(Path(__file__).resolve().parent.parent.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "converters.lowering.worker", "model.onnx", "out", *self._flags],
            cwd=self._folder.name,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONWARNINGS": "ignore"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()
        self._folder.cleanup()

    def lower(self, model: onnx.ModelProto) -> bytes:
        """A float32 .tflite that computes ``model``, NHWC, with a ``serving_default`` signature under the ONNX names.

        Raises:
            MachineError: onnx2tf failed, crashed or hung; its last words are in the message.
        """
        import onnx

        folder = Path(self._folder.name)
        onnx.save(model, folder / "model.onnx")
        words = self._finish()
        results = list((folder / "out").glob("*_float32.tflite"))
        if len(results) != 1:
            raise MachineError(f"onnx2tf made no model: {words}")
        return results[0].read_bytes()

    def _finish(self) -> str:
        """Say that the file is there, wait for the end, and return the last line that was printed."""
        try:
            printed, _ = self._process.communicate("go\n", timeout=TIMEOUT_S)
        except subprocess.TimeoutExpired as error:
            raise MachineError(f"onnx2tf did not end within {TIMEOUT_S} s") from error
        lines = [line.strip() for line in printed.splitlines() if line.strip()]
        words = lines[-1] if lines else "no message"
        code = self._process.returncode
        if code < 0:
            raise MachineError(f"onnx2tf was ended by signal {-code}: {words}", hint="out of memory?")
        if code:
            raise MachineError(f"onnx2tf failed: {words}")
        return words
