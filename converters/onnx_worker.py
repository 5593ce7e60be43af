"""Run as a program by ``converters.onnx_reader``: ``python -P -m converters.onnx_worker``. It reads, rewrites and runs
ONNX graphs.

It answers frames (see ``evit_mobile.runtimes.wire``): ``read``, ``rewrite``, ``open``, ``run``, ``close``. Graphs are
arrays of bytes.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from converters.onnx_session import Run, as_array, from_array, open_session
from converters.rewriting import rewrite
from converters.source.onnx_file import read_onnx
from evit_mobile.arrays import Array
from evit_mobile.runtimes import worker
from evit_mobile.specs import Core, Precision, Target

if TYPE_CHECKING:
    pass


class Server:
    """Answers requests with the one graph that is open."""

    def __init__(self) -> None:
        self._run: Run | None = None

    def answer(self, request: dict[str, Any], arrays: list[Array]) -> tuple[Any, list[Array]]:
        """The value and the arrays that a request asks for; raises whatever the libraries raise."""
        call = request["call"]
        if call == "read":
            shapes = {name: tuple(shape) for name, shape in request["shapes"].items()}
            return None, [as_array(read_onnx(Path(request["path"]), shapes, request["name"]))]
        if call == "rewrite":
            target = Target(
                Precision(request["precision"]), core=Core(request["core"]), token_ratio=request["token_ratio"]
            )
            graph, reports = rewrite(from_array(*arrays), request["form"], target, frozenset(request["left_out"]))
            return [report.to_json() for report in reports], [as_array(graph)]
        if call == "open":
            self._run = open_session(from_array(*arrays))
            return None, []
        if call == "run" and self._run is not None:
            outputs = self._run(dict(zip(request["names"], arrays, strict=True)))
            return list(outputs), list(outputs.values())
        if call == "close":
            self._run = None
            return None, []
        raise ValueError(f"unknown call {call!r}")


def _start() -> worker.Answer:
    # Said to be ready when what every call needs is loaded, so that no call's time limit pays for it.
    import onnx  # noqa: F401
    import onnxruntime  # noqa: F401

    return Server().answer


if __name__ == "__main__":
    worker.run(_start)
