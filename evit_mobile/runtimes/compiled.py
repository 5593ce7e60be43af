"""One .tflite loaded by LiteRT's ``CompiledModel``, the API that Google's documentation now tells apps to use.

It compiles a model for an accelerator, here the CPU, which is XNNPACK, and has buffers for the ends of a signature. It
tells neither ops nor partitions. It runs in a worker alone and imports the standard library, numpy and ``session``.
"""

from __future__ import annotations

import importlib
import time
from typing import Any, Sequence

import numpy as np

from evit_mobile.runtimes.session import Array, InterpreterSession, LoadedModel, OpInfo, TensorInfo, check_inputs


class CompiledSession(LoadedModel):
    """A model loaded by ``CompiledModel``; the same methods as ``InterpreterSession``, but for what it cannot tell.

    ``init_us`` is how long it took to read and compile the file, in microseconds. ``fully_accelerated`` is whether
    accelerators run every op of the file; None where this version of the API does not say.

    Args:
        module: the runtime's Python module that holds ``CompiledModel``.
        model_path: the .tflite file.
        threads: number of threads; versions without options know one.
        xnnpack: False has TFLite's own kernels run everything; versions without options cannot.
        signature: which to run, where the model has several; None runs the first.

    Raises:
        OSError: the file cannot be read.
        ValueError, RuntimeError: whatever the runtime raises for a model that it cannot load.
    """

    def __init__(
        self, module: Any, model_path: str, *, threads: int = 1, xnnpack: bool = True, signature: str | None = None
    ) -> None:
        options = _options(module, threads, xnnpack)
        self.inputs, self.outputs, names, self._output_names = _described(module, model_path, signature)
        super().__init__()
        start = time.perf_counter_ns()
        self._model = module.CompiledModel.from_file(model_path, **options)
        self._index = 0 if signature is None else int(self._model.get_signature_index(signature))
        self._in = self._model.create_input_buffers(self._index)
        self._out = self._model.create_output_buffers(self._index)
        self.init_us = (time.perf_counter_ns() - start) / 1000
        # Buffers come in the order of the signature, inputs and outputs of a session in that of the graph.
        entry = self._model.get_signature_by_index(self._index)
        self._inputs_at = [entry["inputs"].index(name) for name in names]
        self._outputs_at = [entry["outputs"].index(name) for name in self._output_names]
        says = getattr(self._model, "is_fully_accelerated", None)
        self.fully_accelerated: bool | None = None if says is None else bool(says())

    def output_names(self) -> list[str]:
        """Names of the outputs, in the order of ``run``: by the model's signature where it has one, else by tensor."""
        return list(self._output_names)

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        """One inference; arrays in the model's own layout and type, in order of ``self.inputs``."""
        self._set(inputs)
        self._invoke()
        return [_read(self._out[place], info) for place, info in zip(self._outputs_at, self.outputs)]

    def ops(self) -> list[OpInfo]:
        """Raises ValueError: CompiledModel does not list them."""
        raise ValueError("CompiledModel does not tell a model's ops")

    def tensors(self) -> list[TensorInfo]:
        """Raises ValueError: CompiledModel does not list them."""
        raise ValueError("CompiledModel does not tell a model's tensors")

    def _set(self, inputs: Sequence[Array]) -> None:
        check_inputs(self.inputs, inputs)
        for place, array in zip(self._inputs_at, inputs):
            self._in[place].write(np.ascontiguousarray(array).reshape(-1).view(_carrier(array.dtype)))

    def _invoke(self) -> None:
        self._model.run_by_index(self._index, self._in, self._out)


def _options(module: Any, threads: int, xnnpack: bool) -> dict[str, Any]:
    """Arguments of ``CompiledModel.from_file``."""
    if hasattr(module, "Options"):
        kernels = module.CpuKernelMode.XNNPACK if xnnpack else module.CpuKernelMode.BUILTIN
        cpu = module.CpuOptions(num_threads=threads, kernel_mode=kernels)
        return {"options": module.Options(hardware_accelerators=module.HardwareAccelerator.CPU, cpu_options=cpu)}
    if threads != 1 or not xnnpack:
        raise ValueError("CompiledModel of this version has no options: it runs on XNNPACK, with one thread")
    return {"hardware_accel": module.HardwareAccelerator.CPU}


def _described(
    module: Any, model_path: str, signature: str | None
) -> tuple[list[TensorInfo], list[TensorInfo], list[str], list[str]]:
    """Inputs, outputs, and the names of both, as the same package's ``Interpreter`` tells them.

    It also refuses what is no sound file, which ``CompiledModel`` does not check.
    """
    interpreter = importlib.import_module(module.__name__.rpartition(".")[0] + ".interpreter")
    told = InterpreterSession(interpreter, model_path, xnnpack=False, signature=signature)
    return told.inputs, told.outputs, told.input_names(), told.output_names()


def _carrier(kind: np.dtype[Any]) -> np.dtype[Any]:
    """What the bytes of a type are passed as: buffers of every version take float32, int32 and int8, and look at the
    number of bytes alone.
    """
    if kind == np.float32:
        return kind
    return np.dtype(np.int32 if kind.itemsize % 4 == 0 else np.int8)


def _read(buffer: Any, info: TensorInfo) -> Array:
    kind = np.dtype(info.dtype)
    carrier = _carrier(kind)
    count = int(np.prod(info.shape)) * kind.itemsize // carrier.itemsize
    values: Array = buffer.read(count, carrier.type)
    return values.view(kind).reshape(info.shape)
