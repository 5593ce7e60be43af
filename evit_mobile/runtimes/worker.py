"""The program that runs a TFLite runtime under another Python, for ``client.Worker``.

Started as ``python -I worker.py MODULE [FOLDER…]``, where MODULE holds the runtime's ``Interpreter`` or
``CompiledModel``; it is also looked for in the FOLDERs. It answers frames (see ``wire``) on its standard output until
its standard input ends: ``open``, ``run``, ``value``, ``time_us``, ``calls_ns``, ``ops``, ``tensors``, ``peak_memory``,
``close``. At most one model is open at a time. It ends when its starter does, even in the middle of a run, and is the
first to go when memory runs out.
The package it belongs to is not installed under that Python, so its siblings are loaded from their files.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import importlib.util
import os
import platform
import re
import resource
import select
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Callable


def _sibling(name: str) -> Any:
    own = f"evit_mobile.runtimes.{name}"
    spec = importlib.util.spec_from_file_location(own, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[own] = module  # where dataclasses, and the next sibling, look it up
    spec.loader.exec_module(module)
    return module


if TYPE_CHECKING or __package__:  # not started as a program
    from evit_mobile.runtimes import compiled, session, wire
else:
    session, wire = _sibling("session"), _sibling("wire")
    compiled = _sibling("compiled")


class Server:
    """Answers requests with the one model that is open."""

    def __init__(self, runtime: Any) -> None:
        self._runtime = runtime
        self._session: session.InterpreterSession | compiled.CompiledSession | None = None

    def answer(self, request: dict[str, Any], arrays: list[session.Array]) -> tuple[Any, list[session.Array]]:
        """The value and the arrays that a request asks for; raises whatever the runtime raises."""
        call = request["call"]
        if call == "open":
            return self._open(request), []
        if call == "close":
            self._session = None
            return None, []
        opened = self._session
        if opened is None:
            raise ValueError("no model is open")
        if call == "run":
            return None, opened.run(arrays)
        if call == "value" and isinstance(opened, session.InterpreterSession):
            return None, [opened.value(request["index"])]
        if call == "time_us":
            return opened.time_us(arrays, request["runs"]), []
        if call == "calls_ns":
            names = ("since_ns", "until_ns", "period_ns", "frame")
            return None, [opened.calls_ns(arrays, *(request[name] for name in names))]
        if call == "ops":
            return [dataclasses.asdict(op) for op in opened.ops()], []
        if call == "tensors":
            return [dataclasses.asdict(tensor) for tensor in opened.tensors()], []
        if call == "peak_memory":
            return opened.peak_memory_bytes(), []
        raise ValueError(f"unknown call {call!r}")

    def _open(self, request: dict[str, Any]) -> dict[str, Any]:
        self._session = None  # the old model's memory is free before the new one takes its own
        _allow(request["memory_bytes"])
        os.sched_setaffinity(0, request["cores"])
        options = {name: request[name] for name in ("threads", "xnnpack", "signature")}
        opened: session.InterpreterSession | compiled.CompiledSession
        if hasattr(self._runtime, "CompiledModel"):
            opened = compiled.CompiledSession(self._runtime, request["model"], **options)
        else:
            options["keep_values"] = request["keep_values"]
            opened = session.InterpreterSession(self._runtime, request["model"], **options)
        self._session = opened
        return {
            "inputs": [dataclasses.asdict(info) for info in opened.inputs],
            "outputs": [dataclasses.asdict(info) for info in opened.outputs],
            "output_names": opened.output_names(),
            "init_us": opened.init_us,
            "fully_accelerated": opened.fully_accelerated,
        }


def _allow(more_bytes: int) -> None:
    """Let this process take that much more memory than it has, within its hard limit."""
    own = re.search(r"^VmData:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limit = more_bytes + (int(own[1]) * 1024 if own else 0)
    resource.setrlimit(resource.RLIMIT_DATA, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))


#: Gives the value and the arrays that a request with its arrays asks for.
Answer = Callable[[dict[str, Any], "list[session.Array]"], "tuple[Any, list[session.Array]]"]


def serve(start: Callable[[], Answer], requests: BinaryIO, replies: BinaryIO) -> None:
    """Import what answers, say so, then answer until the requests end."""
    try:
        answer = start()
    except Exception as error:
        wire.write(replies, {"error": type(error).__name__, "message": str(error)})
        return
    wire.write(replies, {"value": {"python": platform.python_version()}})
    while True:
        try:
            request, arrays = wire.read(requests)
        except EOFError:
            return
        try:
            value, results = answer(request, arrays)
            wire.write(replies, {"value": value}, results)
        except BrokenPipeError:
            return
        except Exception as error:
            wire.write(replies, {"error": type(error).__name__, "message": str(error)})


def _end_with_starter(requests: int) -> None:
    """End this process when nobody holds the other end of ``requests`` any more, even in the middle of a run."""
    closed = select.poll()
    closed.register(requests, 0)  # POLLHUP alone, which is always reported
    closed.poll()
    os._exit(1)


def run(start: Callable[[], Answer]) -> None:
    """Be a worker that answers by what ``start`` gives.

    The pipes are kept for frames: whatever is printed on standard output goes to standard error.
    """
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    # What does not fit into this machine is refused at once, instead of swapping for minutes.
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    set_before = [limit for limit in resource.getrlimit(resource.RLIMIT_DATA) if limit != resource.RLIM_INFINITY]
    limit = min([memory, *set_before])
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    threading.Thread(target=_end_with_starter, args=(requests.fileno(),), daemon=True).start()
    serve(start, requests, replies)


def _start() -> Answer:
    sys.path.extend(sys.argv[2:])
    return Server(importlib.import_module(sys.argv[1])).answer


if __name__ == "__main__":
    run(_start)
