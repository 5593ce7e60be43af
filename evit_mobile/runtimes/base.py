"""What a runtime is to the rest of the program."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Protocol, Sequence

from evit_mobile.runtimes.session import Array, OpInfo, TensorInfo


class Session(Protocol):
    """A loaded model; see ``session.InterpreterSession`` and ``session.LoadedModel`` for what each method gives.

    ``run``, ``time_us`` and ``calls_ns`` raise ValueError for inputs that do not fit, RuntimeError where the runtime
    refuses to run the model (a kernel that divides by zero, say), and MachineError or RequestError where the runtime
    itself died.
    ``init_us`` and ``peak_memory_bytes`` are None where nobody can say. ``fully_accelerated`` is the runtime's own word
    on whether accelerators run every op, None where it gives none.
    """

    inputs: list[TensorInfo]
    outputs: list[TensorInfo]

    @property
    def init_us(self) -> float | None: ...

    @property
    def fully_accelerated(self) -> bool | None: ...

    def output_names(self) -> list[str]: ...
    def run(self, inputs: Sequence[Array]) -> list[Array]: ...
    def time_us(self, inputs: Sequence[Array], runs: int) -> list[float]: ...

    def calls_ns(
        self, inputs: Sequence[Array], since_ns: int, until_ns: int, period_ns: int | None = ..., frame: int = ...
    ) -> Array: ...

    def ops(self) -> list[OpInfo]: ...
    def tensors(self) -> list[TensorInfo]: ...
    def peak_memory_bytes(self) -> int | None: ...


#: A way to run a model: whether XNNPACK takes part, and the number of threads.
Configuration = tuple[bool, int]

#: The ways in which a model is verified on a runtime that has them all.
CONFIGURATIONS: tuple[Configuration, ...] = ((True, 1), (True, 2), (False, 1), (False, 2))


@dataclass(frozen=True)
class RuntimeStatus:
    """What is known of a runtime on this machine.

    Attributes:
        version: the installed version of ``package``, or the one that would be installed.
        problem: why it cannot be used; None where it can.
        python: the Python that runs it, as ``3.11.7``; before it is installed, the one it needs (None: the one that
            runs us).
        path: its environment's folder.
    """

    name: str
    package: str
    version: str
    installed: bool
    problem: str | None
    python: str | None
    path: str


class Runtime(Protocol):
    """A named way to run a .tflite."""

    @property
    def name(self) -> str: ...

    @property
    def configurations(self) -> tuple[Configuration, ...]:
        """The ways in which it can run a model."""

    @property
    def lists_ops(self) -> bool:
        """Whether a session tells its ops and partitions."""

    def version(self) -> str | None:
        """The installed package and its version, or None where it is not installed."""

    def status(self) -> RuntimeStatus:
        """What is known of it on this machine."""

    def install(self, progress: Callable[[str], None] = ...) -> bool:
        """Make it usable, from any state; True if there was something to do. ``progress`` gets each step.

        Raises:
            MachineError: it cannot be made usable here; nothing half-made is left.
        """

    def open(
        self, model: Path, *, threads: int = 1, xnnpack: bool = True, signature: str | None = None
    ) -> AbstractContextManager[Session]:
        """Load a model; leaving the context frees it. ``signature`` chooses one of several, else the first is run.

        Raises:
            RequestError: this runtime cannot load the file.
            MachineError: the runtime is not installed or crashed.
        """
