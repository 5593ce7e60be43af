"""ONNX files of the user's, read, rewritten and run in a process of its own.

onnx, onnx_ir and ONNX Runtime are made for sound files: on others they raise anything, crash, or take all memory and
time. In another process that costs the process alone, and becomes one line about the file. The process loads them in a
third of a second, and serves one file after another.
"""

from __future__ import annotations

import contextlib
import os
import sys
import weakref
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from converters.onnx_session import as_array, from_array
from converters.passes.base import Declined, PassReport
from evit_mobile.arrays import Array
from evit_mobile.errors import ConversionError, MachineError, RequestError
from evit_mobile.runtimes.client import CallError, Worker
from evit_mobile.runtimes.pool import WorkerPool
from evit_mobile.specs import Target
from evit_mobile.text import visible

if TYPE_CHECKING:
    import onnx

#: How long a file may take to be checked and run once, seconds: a network of 1 GB takes ten.
READ_TIMEOUT_S = 60.0
#: Characters of a library's reason that are shown: it may quote the names in the file, of any length.
_LONGEST_REASON = 400
_LABEL = "the process that reads it"


def _start() -> Worker:
    # The worker must find this very package, and no module of the user's working directory (-P).
    paths = [str(Path(__file__).resolve().parent.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    variables = {"PYTHONPATH": os.pathsep.join(paths), "PYTHONWARNINGS": "ignore"}
    return Worker([sys.executable, "-P", "-m", "converters.onnx_worker"], _LABEL, variables=variables)


_POOL = WorkerPool(_start)


def read(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> onnx.ModelProto:
    """``converters.source.onnx_file.read_onnx`` in another process.

    Raises:
        RequestError: as there; or the file crashed its readers, or took too long or too much.
    """
    name = path.as_posix()
    sizes = {key: list(shape) for key, shape in shapes.items()}
    with _POOL.borrow() as worker, _at_fault(name, "read"):
        _, arrays = worker.call("read", timeout_s=READ_TIMEOUT_S, path=str(path.absolute()), name=name, shapes=sizes)
    return from_array(*arrays)


def rewrite(
    stock: onnx.ModelProto, name: str, attention_form: str, target: Target, left_out: frozenset[str]
) -> tuple[onnx.ModelProto, list[PassReport]]:
    """``converters.rewriting.rewrite`` in another process, of a graph from the file ``name``.

    Raises:
        RequestError: as there, or it crashed.
        ConversionError: a pass failed.
    """
    with _POOL.borrow() as worker, _at_fault(name, "rewritten"):
        reports, arrays = worker.call(
            "rewrite",
            [as_array(stock)],
            form=attention_form,
            precision=target.precision.value,
            core=target.core.value,
            token_ratio=target.token_ratio,
            left_out=sorted(left_out),
        )
    return from_array(*arrays), [
        PassReport(**{**report, "declined": [Declined(**place) for place in report["declined"]]}) for report in reports
    ]


class OnnxSession:
    """A graph from the file ``name`` in ONNX Runtime, in another process until nobody holds the session any more.

    Raises:
        RequestError: ONNX Runtime cannot load it.
    """

    def __init__(self, model: onnx.ModelProto, name: str) -> None:
        self._name = name
        self._worker = _POOL.take()
        weakref.finalize(self, _POOL.put_back, self._worker).atexit = False  # the process ends with this one anyway
        with _at_fault(name, "run"):
            self._worker.call("open", [as_array(model)])

    def __call__(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Outputs by name.

        Raises:
            RequestError: ONNX Runtime cannot run the graph on these inputs.
        """
        with _at_fault(self._name, "run"):
            names, outputs = self._worker.call("run", list(inputs.values()), names=list(inputs))
        return dict(zip(names, outputs, strict=True))


@contextlib.contextmanager
def _at_fault(name: str, what: str) -> Iterator[None]:
    """Whatever goes wrong in the other process, where the file ``name`` is to be ``what``, is the file's fault."""
    try:
        yield
    except CallError as error:
        reason = _shown(str(error) or error.kind)
        if error.kind == ConversionError.__name__:
            raise ConversionError(reason) from error
        if error.kind == RequestError.__name__:
            raise RequestError(reason) from error
        if error.kind == MemoryError.__name__:
            reason = "it needs more memory than this machine has"
        raise RequestError(f"{name} cannot be {what}: {reason}") from error
    except MachineError as error:
        hint = "it is damaged, or asks for more than this machine has"
        raise RequestError(f"{name} cannot be {what}: {_shown(error.message)}", hint=hint) from error


def _shown(reason: str) -> str:
    line = visible(" ".join(reason.split()))
    return line if len(line) <= _LONGEST_REASON else f"{line[:_LONGEST_REASON]}…"
