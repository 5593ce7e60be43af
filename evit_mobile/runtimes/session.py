"""One loaded .tflite under one interpreter: run it, time it, read what its delegate took.

This module runs inside our process and, unchanged, inside a worker under another Python that may be as old as 3.11 with
numpy 1: it imports the standard library and numpy alone.
"""

from __future__ import annotations

import contextlib
import ctypes
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True)
class TensorInfo:
    """A tensor of the loaded model. ``scale`` and ``zero_point`` are empty where it is not quantised."""

    index: int
    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: tuple[float, ...] = ()
    zero_point: tuple[int, ...] = ()

    def dequantise(self, values: Array) -> Array:
        """What ``values`` of this tensor stand for, (value - zero point) * scale in float32; as they are unless it has
        one scale.
        """
        if len(self.scale) != 1:
            return values
        return ((values.astype(np.float32) - self.zero_point[0]) * np.float32(self.scale[0])).astype(np.float32)

    def quantise(self, values: Array) -> Array:
        """Real ``values`` as this tensor holds them: where it has one scale rounded, and cut off at its type's
        bounds.
        """
        if len(self.scale) != 1 or self.dtype not in ("int8", "uint8", "int16"):
            return np.asarray(values, self.dtype)
        bounds = np.iinfo(self.dtype)
        return np.clip(np.round(values / self.scale[0]) + self.zero_point[0], bounds.min, bounds.max).astype(self.dtype)


@dataclass(frozen=True)
class OpInfo:
    """A node of the execution plan, original or ``DELEGATE``; tensors by index, -1 where an optional one is absent."""

    index: int
    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


def check_inputs(infos: Sequence[TensorInfo], inputs: Sequence[Array]) -> None:
    """Raise ValueError unless there is one array for each of ``infos``, of its shape and type."""
    if len(inputs) != len(infos):
        raise ValueError(f"the model has {len(infos)} inputs, {len(inputs)} were given")
    for info, array in zip(infos, inputs):
        if array.shape != info.shape or array.dtype.name != info.dtype:
            raise ValueError(f"{info.name} takes {info.dtype} {info.shape}, {array.dtype} {array.shape} was given")


class LoadedModel:
    """What the sessions of all APIs share: how a model is timed, called at a pace, and weighed.

    A subclass loads the model after ``super().__init__()``, which notes the memory before, and says how inputs are set
    and how one inference is made.
    """

    inputs: list[TensorInfo]
    outputs: list[TensorInfo]

    def __init__(self) -> None:
        self._resident_before = _reset_peak()

    def _set(self, inputs: Sequence[Array]) -> None:
        raise NotImplementedError

    def _invoke(self) -> None:
        raise NotImplementedError

    def time_us(self, inputs: Sequence[Array], runs: int) -> list[float]:
        """Wall time of each of ``runs`` inferences in microseconds; inputs are set once, before the first."""
        self._set(inputs)
        samples = []
        for _ in range(runs):
            start = time.perf_counter_ns()
            self._invoke()
            samples.append((time.perf_counter_ns() - start) / 1000.0)
        return samples

    def calls_ns(
        self, inputs: Sequence[Array], since_ns: int, until_ns: int, period_ns: int | None = None, frame: int = 0
    ) -> Array:
        """Call without pause, or at the pace of a camera, until a time of ``time.monotonic_ns``.

        A camera's frame is due every ``period_ns`` from ``since_ns`` on. A call takes the newest that is due; where
        none is due yet, it waits.

        Args:
            inputs: set once, before the first call.
            since_ns: what starts are relative to.
            frame: the number of the first frame that has not been taken yet.

        Returns:
            int64 [2, N]: when each call began, since ``since_ns``, and how long it took.
        """
        self._set(inputs)
        starts: list[int] = []
        durations: list[int] = []
        while (now := time.monotonic_ns()) < until_ns:
            if period_ns is not None:
                due = since_ns + frame * period_ns
                if due >= until_ns:
                    break
                if now < due:
                    time.sleep((due - now) / 1e9)
                    continue
                frame = (now - since_ns) // period_ns + 1
            self._invoke()
            starts.append(now - since_ns)
            durations.append(time.monotonic_ns() - now)
        return np.array([starts, durations], np.int64)

    def peak_memory_bytes(self) -> int | None:
        """How far this process's greatest resident set since just before loading was above its resident set then.

        None where the system does not say. It counts this model alone only where no other was loaded meanwhile.
        """
        peak = _status("VmHWM")
        if peak is None or self._resident_before is None:
            return None
        return max(peak - self._resident_before, 0)


class InterpreterSession(LoadedModel):
    """A model loaded by a TFLite ``Interpreter`` class; all known runtimes share that API.

    ``init_us`` is how long it took to read and load the file, in microseconds. ``fully_accelerated`` is None: the API
    does not say.

    Args:
        module: the runtime's Python module that holds ``Interpreter`` and ``OpResolverType``.
        model_path: the .tflite file.
        threads: number of threads for the kernels and the delegate.
        xnnpack: False keeps the default delegate out, so TFLite's own kernels run everything.
        keep_values: every tensor has its value after a run, for ``value``; else tensors share memory.
        signature: which to run, where the model has several; None runs the primary subgraph.

    Raises:
        OSError: the file cannot be read.
        ValueError, RuntimeError: whatever the runtime raises for a model that it cannot load or plan.
    """

    fully_accelerated: bool | None = None

    def __init__(
        self,
        module: Any,
        model_path: str,
        *,
        threads: int = 1,
        xnnpack: bool = True,
        keep_values: bool = False,
        signature: str | None = None,
    ) -> None:
        super().__init__()
        start = time.perf_counter_ns()
        resolver = module.OpResolverType.BUILTIN if xnnpack else module.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        with open(model_path, "rb") as file:
            content = file.read()
        if not content:
            raise ValueError("the file is empty")
        # From a buffer the runtime verifies the flatbuffer; from a path it does not, and a truncated file is a
        # segmentation fault.
        self._interpreter = module.Interpreter(
            model_content=content,
            num_threads=threads,
            experimental_op_resolver_type=resolver,
            experimental_preserve_all_tensors=keep_values,
        )
        # The default delegate is applied here, to all subgraphs; what a signature allocates alone goes without it.
        self._interpreter.allocate_tensors()
        self._model, self._subgraph = self._interpreter._interpreter, 0
        if signature is not None:
            self._subgraph = int(self._model.GetSubgraphIndexFromSignature(signature))
            self._model.AllocateTensors(self._subgraph)
        self.init_us = (time.perf_counter_ns() - start) / 1000
        self.inputs, self.outputs = self._ends(signature)

    def _ends(self, signature: str | None) -> tuple[list[TensorInfo], list[TensorInfo]]:
        """Inputs and outputs: in the graph's order, or by the names of ``signature``, sorted."""
        if signature is None:
            details = (self._interpreter.get_input_details(), self._interpreter.get_output_details())
            return [_tensor(detail) for detail in details[0]], [_tensor(detail) for detail in details[1]]
        runner = self._interpreter.get_signature_runner(signature)
        named = (runner.get_input_details(), runner.get_output_details())
        inputs, outputs = ([_tensor(detail, name) for name, detail in sorted(end.items())] for end in named)
        return inputs, outputs

    def input_names(self) -> list[str]:
        """Names of the inputs, in their order: by the model's signature where it has one, else by tensor."""
        return self._names("inputs", self.inputs)

    def output_names(self) -> list[str]:
        """Names of the outputs, in the order of ``run``, likewise."""
        return self._names("outputs", self.outputs)

    def _names(self, end: str, infos: Sequence[TensorInfo]) -> list[str]:
        by_index = {}
        for key, signature in self._interpreter._get_full_signature_list().items():
            if int(self._model.GetSubgraphIndexFromSignature(key)) == self._subgraph:
                by_index.update({index: name for name, index in signature[end].items()})
        return [by_index.get(info.index, info.name) for info in infos]

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        """One inference; arrays in the model's own layout and type, in order of ``self.inputs``."""
        self._set(inputs)
        self._invoke()
        return [self._model.GetTensor(info.index, self._subgraph) for info in self.outputs]

    def value(self, index: int) -> Array:
        """What a tensor holds after the last run; see ``keep_values``."""
        array: Array = self._interpreter.get_tensor(index)
        return array

    def ops(self) -> list[OpInfo]:
        """Every node of the primary subgraph: the model's own ops and one ``DELEGATE`` a partition.

        Raises:
            ValueError: another signature was chosen; runtimes do not list the nodes of its subgraph.
        """
        if self._subgraph:
            raise ValueError("a runtime lists the ops of the first signature alone")
        return [
            OpInfo(int(op["index"]), str(op["op_name"]), tuple(map(int, op["inputs"])), tuple(map(int, op["outputs"])))
            for op in self._interpreter._get_ops_details()
        ]

    def tensors(self) -> list[TensorInfo]:
        """Every tensor that has a place in the interpreter."""
        return [_tensor(detail) for detail in self._interpreter.get_tensor_details()]

    def _set(self, inputs: Sequence[Array]) -> None:
        check_inputs(self.inputs, inputs)
        for info, array in zip(self.inputs, inputs):
            self._model.SetTensor(info.index, np.ascontiguousarray(array), self._subgraph)

    def _invoke(self) -> None:
        self._model.Invoke(self._subgraph)


def _reset_peak() -> int | None:
    """Let Linux's maximum of this process's resident set (VmHWM) begin anew; the resident set in bytes, None where it
    cannot be.

    Free memory is returned to the system first, else a model that is loaded again would be seen to need none.
    """
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return None
    return _status("VmRSS")


def _status(field: str) -> int | None:
    """A size from /proc/self/status in bytes."""
    try:
        text = Path("/proc/self/status").read_text()
    except OSError:
        return None
    match = re.search(rf"^{field}:\s+(\d+) kB$", text, re.MULTILINE)
    return int(match[1]) * 1024 if match else None


def _tensor(detail: dict[str, Any], name: str | None = None) -> TensorInfo:
    parameters = detail["quantization_parameters"]
    return TensorInfo(
        index=int(detail["index"]),
        name=name or str(detail["name"]),
        shape=tuple(int(size) for size in detail["shape"]),
        dtype=np.dtype(detail["dtype"]).name,
        scale=tuple(float(scale) for scale in parameters["scales"]),
        zero_point=tuple(int(point) for point in parameters["zero_points"]),
    )
