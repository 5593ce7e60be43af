"""What a runtime is to the rest of the program."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol, Sequence

from evit_mobile.runtimes.session import Array, OpInfo, TensorInfo


class Session(Protocol):
    """A loaded model; see ``session.InterpreterSession`` for what each method gives."""

    inputs: list[TensorInfo]
    outputs: list[TensorInfo]

    def output_names(self) -> list[str]: ...
    def run(self, inputs: Sequence[Array]) -> list[Array]: ...
    def time_us(self, inputs: Sequence[Array], runs: int) -> list[float]: ...
    def ops(self) -> list[OpInfo]: ...
    def tensors(self) -> list[TensorInfo]: ...


class Runtime(Protocol):
    """A named way to run a .tflite."""

    @property
    def name(self) -> str: ...

    def version(self) -> str | None:
        """The installed package and its version, or None where it is not installed."""

    def open(self, model: Path, *, threads: int = 1, xnnpack: bool = True) -> AbstractContextManager[Session]:
        """Load a model; leaving the context frees it.

        Raises:
            RequestError: the file is no model that this runtime can load.
            MachineError: the runtime is not installed or crashed.
        """
