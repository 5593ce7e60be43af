"""ONNX to a .tflite flatbuffer: onnx2tf's direct backend behind one call."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from converters.lowering.boundary import plain, restore
from converters.lowering.delegable import respell
from converters.lowering.log_softmax import join_log_softmax
from converters.lowering.low_rank import factor_constants
from converters.lowering.places import delegate_places
from converters.lowering.refusal import UNSUPPORTED, check_data, check_operators, unsupported
from converters.lowering.transpositions import put_off_transpositions
from converters.tflite.editor import FlatbufferEditor
from evit_mobile.errors import ConversionError, MachineError
from evit_mobile.processes import CRASHES, temporary_folder
from evit_mobile.tflite.flatbuffer import pack, unpack

if TYPE_CHECKING:
    import onnx

#: EfficientViT-Base takes 4 s; a 1024x2048 model under a minute.
TIMEOUT_S = 1800


class Lowering:
    """A process that loads onnx2tf as soon as the context is entered, and lowers one model.

    Args:
        simplify: let onnx2tf run its own graph simplifier first, as its command line does; our passes make that
            unnecessary.
        rewrites: let onnx2tf remove transpositions by its own rewrites, which are wrong for some networks.
    """

    def __init__(self, *, simplify: bool = False, rewrites: bool = True) -> None:
        self._simplify, self._rewrites = simplify, rewrites
        self._flags = ["--simplify"] * simplify + ["--no-rewrites"] * (not rewrites)

    def __enter__(self) -> Self:
        self._closing = contextlib.ExitStack()
        self._folder = self._closing.enter_context(temporary_folder())
        # The worker must find this very package, wherever the user's working directory and PYTHONPATH point.
        paths = [str(Path(__file__).resolve().parent.parent.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
        # Its output goes to a file: a pipe that nobody reads while the parent is busy would stop it.
        self._output = tempfile.TemporaryFile()
        quiet = {"PYTHONWARNINGS": "ignore", "TQDM_DISABLE": "1"}
        # A session of its own: Ctrl-C reaches us alone, and we end the worker.
        self._process = subprocess.Popen(
            [sys.executable, "-m", "converters.lowering.worker", str(os.getpid()), "model.onnx", "out", *self._flags],
            cwd=self._folder,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), **quiet},
            stdin=subprocess.PIPE,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()
        self._output.close()
        self._closing.close()

    def lower(self, model: onnx.ModelProto, *, factored: bool = False) -> bytes:
        """``begin`` and ``finish`` in one."""
        self.begin(model)
        return self.finish(factored=factored)

    def begin(self, model: onnx.ModelProto) -> None:
        """Let the process lower ``model``; the caller may do other things until ``finish``."""
        import onnx

        self._model, self._boundary = plain(model)
        onnx.save(self._model, self._folder / "model.onnx")
        stdin = self._process.stdin
        if stdin is not None:
            try:
                stdin.write(b"go\n")
                stdin.flush()
            except BrokenPipeError:  # it has died, and ``finish`` says of what
                pass

    def finish(self, *, factored: bool = False) -> bytes:
        """A float32 .tflite that computes the model, NHWC, with a ``serving_default`` signature under the ONNX names.

        Args:
            factored: store large constants of low rank as two factors; see ``low_rank``.

        Raises:
            RequestError: ``model`` has an operator that TFLite has no form of.
            ConversionError: onnx2tf failed or crashed; its last words are in the message.
            MachineError: it hung, or was killed.
        """
        try:
            self._process.wait(TIMEOUT_S)
        except subprocess.TimeoutExpired as error:
            raise MachineError(f"onnx2tf did not end within {TIMEOUT_S} s") from error
        words, code = self._last_words(), self._process.returncode
        if code == UNSUPPORTED:
            raise unsupported(words)
        if code < 0:
            name = signal.Signals(-code).name
            if -code in CRASHES:
                raise ConversionError(f"onnx2tf was ended by {name}: {words}")
            raise MachineError(f"onnx2tf was ended by {name}: {words}", hint="out of memory?")
        if code:
            raise ConversionError(f"onnx2tf failed: {words}")
        results = list((self._folder / "out").glob("*_float32.tflite"))
        if len(results) != 1:
            raise ConversionError(f"onnx2tf made no model: {words}")
        content = results[0].read_bytes()
        editor = FlatbufferEditor(unpack(content, "the lowered model"))
        check_operators(editor.model, self._model)
        check_data(editor, self._model)
        restore(editor, self._boundary)
        respell(editor)
        if not self._rewrites:
            put_off_transpositions(editor)
        if not self._simplify:  # a graph as exported shows what onnx2tf makes of it
            delegate_places(editor)
            join_log_softmax(editor)
        if factored:
            factor_constants(editor)
        return pack(editor.model, len(content))

    def _last_words(self) -> str:
        """The last line that the process printed."""
        self._output.seek(0)
        printed = self._output.read().decode(errors="replace")
        lines = [line.strip() for line in printed.splitlines() if line.strip()]
        return lines[-1] if lines else "no message"
