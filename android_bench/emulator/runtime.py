"""The emulated processor as a runtime: what ``verify`` compares with PyTorch, with the kernels that a phone
would run.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Callable, Iterator, Sequence

from android_bench.emulator.device import open_qemu
from android_bench.emulator.qemu import Qemu, Signature
from evit_mobile.errors import RequestError
from evit_mobile.runtimes.base import Configuration, RuntimeStatus
from evit_mobile.runtimes.session import Array, OpInfo, TensorInfo, check_inputs
from evit_mobile.tflite.file import Tflite


class EmulatedSession:
    """A model on an emulated processor: each run is a process of its own. Times, ops and tensors are not available."""

    def __init__(self, qemu: Qemu, model: Path, signature: Signature) -> None:
        self._qemu, self._model, self._signature = qemu, model, signature
        self.inputs, self.outputs = signature.inputs, signature.outputs

    init_us = None
    fully_accelerated: bool | None = None

    def output_names(self) -> list[str]:
        """Names of the outputs by the model's signature, in the order of ``run``."""
        return [info.name for info in self.outputs]

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        """One inference; arrays in the model's own layout and type, in order of ``self.inputs``.

        Raises:
            ValueError: they do not fit.
            DeviceError: the run did not end as it should.
        """
        check_inputs(self.inputs, inputs)
        return self._qemu.infer(self._model, inputs, self._signature)

    def peak_memory_bytes(self) -> int | None:
        return None

    def time_us(self, inputs: Sequence[Array], runs: int) -> list[float]:
        raise RequestError("an emulated processor has no latency", hint="bench --device qemu: counts its instructions")

    def calls_ns(
        self, inputs: Sequence[Array], since_ns: int, until_ns: int, period_ns: int | None = None, frame: int = 0
    ) -> Array:
        raise RequestError("an emulated processor has no latency", hint="bench --device qemu: counts its instructions")

    def ops(self) -> list[OpInfo]:
        raise RequestError(
            "LiteRT does not tell an emulated model's ops", hint="inspect it on a runtime of this machine"
        )

    def tensors(self) -> list[TensorInfo]:
        raise RequestError(
            "LiteRT does not tell an emulated model's tensors", hint="inspect it on a runtime of this machine"
        )


class EmulatedRuntime:
    """LiteRT for arm64 on an emulated processor, under the name of its device."""

    configurations: tuple[Configuration, ...] = ((True, 1),)
    lists_ops = False

    def __init__(self, qemu: Qemu) -> None:
        self._qemu = qemu

    @property
    def name(self) -> str:
        return f"qemu:{self._qemu.cpu.name}"

    def version(self) -> str:
        return f"ai-edge-litert {self._qemu.release} (arm64)"

    def status(self) -> RuntimeStatus:
        return RuntimeStatus(
            self.name, "ai-edge-litert", self._qemu.release, True, None, None, str(self._qemu.library.parent)
        )

    def install(self, progress: Callable[[str], None] = lambda text: None) -> bool:
        return False

    @contextlib.contextmanager
    def open(
        self, model: Path, *, threads: int = 1, xnnpack: bool = True, signature: str | None = None
    ) -> Iterator[EmulatedSession]:
        """The model's session.

        Raises:
            RequestError: LiteRT cannot load the file, or is asked for several threads or to leave XNNPACK out.
        """
        if (xnnpack, threads) not in self.configurations:
            raise RequestError(f"{self.name} runs one thread with XNNPACK, nothing else")
        file = Tflite.read(model)
        with (file if signature is None else file.at(signature)).on_disk() as path:
            yield EmulatedSession(self._qemu, path, self._qemu.signature(path))


def open_runtime(address: str, release: str) -> EmulatedRuntime:
    """The emulated processor ``address`` with the LiteRT release that ``release`` names.

    Raises:
        RequestError: no such processor, or a runtime that has no arm64 library here.
        MachineError: the emulator cannot be set up.
    """
    return EmulatedRuntime(open_qemu(address, release))
