"""Many conversions at once: in parallel processes here, or on a Dask cluster.

Each is a task of its own for joblib: what the model needs is counted first, and one that cannot fit is not converted.
The .tflite travels back as bytes, so that a cluster needs no common disk, and is put into this machine's cache.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from converters.cache import kept
from converters.options import ConvertOptions
from converters.pipeline import convert_in_memory
from converters.report import Conversion
from evit_mobile.errors import EvitMobileError, MachineError, RequestError, first_line
from evit_mobile.processes import end_with, temporary_folder
from evit_mobile.results.content import Content
from evit_mobile.specs import ModelName, Resolution

#: What one conversion takes beside the model itself: torch, onnx2tf and the graph in several forms.
CONVERSION_BYTES = 1_500_000_000
#: How many times a model's own needs a conversion takes: it is traced, which runs it.
TRACING = 2.0


@dataclass(frozen=True)
class Task:
    """A model as ``--model`` names it, at a resolution; ``count_only`` asks for no file."""

    model: str
    resolution: Resolution
    count_only: bool = False


@dataclass(frozen=True)
class TaskOutcome:
    """What became of a task.

    Attributes:
        path: the .tflite in this machine's cache; None where there is none.
        macs: counted on the PyTorch module; on the .tflite for a model that is not registered here.
        memory_bytes: predicted need, of the .tflite where there is one.
        content: what LiteRT finds in the .tflite.
        too_large: it was not converted, or is not to be run, because of ``memory_bytes``.
        error: why there is no file, in one line.
    """

    path: Path | None = None
    macs: int | None = None
    memory_bytes: int | None = None
    content: Content = Content()
    too_large: bool = False
    error: str | None = None


@dataclass(frozen=True)
class Owner:
    """The process that workers end with, and its folder, in which they have theirs."""

    pid: int
    folder: Path


def convert_all(
    tasks: Sequence[Task], memory_limit_bytes: int, *, workers: int | None = None, dask: str | None = None
) -> Iterator[tuple[Task, TaskOutcome]]:
    """Convert every task and yield each as it comes, in no order.

    Args:
        memory_limit_bytes: what a model may need where it will run. On this machine a conversion also has to fit into
            free memory.
        workers: processes; None takes as many as cores and memory allow.
        dask: address of a Dask scheduler whose workers have evit-mobile installed, e.g. ``tcp://127.0.0.1:8786``.

    Raises:
        RequestError: ``dask`` is not installed here. MachineError: the scheduler cannot be reached, or a worker process
            died.
    """
    import joblib
    import psutil

    free = int(psutil.virtual_memory().available)
    count = workers or max(1, min(len(os.sched_getaffinity(0)), free // CONVERSION_BYTES, len(tasks)))
    # A worker elsewhere knows its own memory; here all share what is free.
    traced = memory_limit_bytes if dask else min(memory_limit_bytes, int(free / count / TRACING))
    with _backend(dask) as owner:
        parallel = joblib.Parallel(n_jobs=-1 if dask else count, return_as="generator_unordered")
        jobs = (joblib.delayed(_convert)(task, memory_limit_bytes, traced, owner) for task in tasks)
        try:
            for task, outcome, conversion in parallel(jobs):
                if conversion is not None:
                    path = kept(task.model, ConvertOptions(resolution=task.resolution), conversion)
                    outcome = dataclasses.replace(outcome, path=None if outcome.too_large else path)
                yield task, outcome
        except joblib.externals.loky.process_executor.TerminatedWorkerError as error:
            raise MachineError(
                "a conversion's process was killed, most likely for want of memory", hint="give --jobs 1"
            ) from error


@contextlib.contextmanager
def _backend(dask: str | None) -> Iterator[Owner | None]:
    """Where joblib runs the conversions; whom they belong to, if that is this process."""
    import joblib

    if dask is None:
        with temporary_folder() as folder:
            try:
                with joblib.parallel_config(backend="loky", inner_max_num_threads=1):
                    yield Owner(os.getpid(), folder)
            finally:
                # Idle workers would stay for minutes, with all their memory, beside what is measured next and even
                # after a kill -9.
                joblib.externals.loky.get_reusable_executor().shutdown(wait=True)
        return
    try:
        from distributed import Client
    except ImportError as error:
        raise RequestError(
            "--dask needs distributed, which is not installed", hint="pip install 'evit-mobile[dask]'"
        ) from error
    try:
        client = Client(dask, timeout="10s", set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        raise MachineError(
            f"the Dask scheduler {dask} cannot be reached: {first_line(error)}",
            hint="give its address, e.g. tcp://HOST:8786",
        ) from error
    with client, joblib.parallel_config(backend="dask", client=client, wait_for_workers_timeout=30):
        yield None


def _convert(
    task: Task, limit_bytes: int, traced_bytes: int, owner: Owner | None
) -> tuple[Task, TaskOutcome, Conversion | None]:
    """Runs in a worker, which ends with ``owner``; whatever is wrong with a model is reported and spoils no other."""
    if owner is not None and owner.pid != os.getpid():  # joblib runs a single job in the caller's own process
        end_with(owner.pid)
        tempfile.tempdir = str(owner.folder)
    try:
        outcome = _count(task, limit_bytes, traced_bytes)
        if outcome.too_large or task.count_only:
            return task, outcome, None
        return task, *_convert_counted(task, outcome, limit_bytes)
    except EvitMobileError as error:
        return task, TaskOutcome(error=str(error)), None
    except Exception as error:  # converters raise anything
        return task, TaskOutcome(error=f"{type(error).__name__}: {first_line(error)}"), None


def _count(task: Task, limit_bytes: int, traced_bytes: int) -> TaskOutcome:
    """What can be said before a conversion: of an ONNX file or a factory nothing."""
    from evit_mobile.models.counting import count_needs
    from evit_mobile.models.paper import shapes

    name = ModelName.parse(task.model)
    if not name.is_counted:
        if task.count_only:
            raise RequestError(f"{task.model} cannot be counted", hint="name a registered or timm: model")
        return TaskOutcome()
    module, channels = shapes(task.model, task.resolution)
    needs = count_needs(module, task.resolution, channels)
    outcome = TaskOutcome(macs=needs.macs, memory_bytes=needs.memory_bytes)
    if task.count_only or needs.memory_bytes <= min(limit_bytes, traced_bytes):
        return outcome
    if needs.memory_bytes > limit_bytes:
        return dataclasses.replace(outcome, too_large=True, error=_too_much(needs.memory_bytes, limit_bytes, "may use"))
    return dataclasses.replace(
        outcome, too_large=True, error=_too_much(needs.memory_bytes, traced_bytes, "can be converted here with")
    )


def _convert_counted(task: Task, outcome: TaskOutcome, limit_bytes: int) -> tuple[TaskOutcome, Conversion]:
    from converters.tflite.inspection import inspect_model
    from evit_mobile.tflite import costs
    from evit_mobile.tflite.file import Tflite

    conversion = convert_in_memory(task.model, ConvertOptions(resolution=task.resolution))
    file = Tflite(conversion.content, task.model)
    graph = file.graph
    memory = costs.memory_bytes(graph)
    outcome = dataclasses.replace(
        outcome, macs=outcome.macs or sum(costs.macs_of(op, graph) for op in graph.ops), memory_bytes=memory
    )
    if memory > limit_bytes:
        return dataclasses.replace(outcome, too_large=True, error=_too_much(memory, limit_bytes, "may use")), conversion
    return dataclasses.replace(outcome, content=inspect_model(file, explain=False).content), conversion


def _too_much(needed_bytes: int, limit_bytes: int, may: str) -> str:
    return f"needs about {needed_bytes / 1e9:.2f} GB and {may} {limit_bytes / 1e9:.2f} GB"
