"""The runtimes that can run a .tflite; ``RUNTIMES`` is the list that commands and tests read."""

from evit_mobile.runtimes.base import Runtime, RuntimeStatus, Session
from evit_mobile.runtimes.foreign import LITERT_LATEST, TENSORFLOW, TFLITE_RUNTIME
from evit_mobile.runtimes.litert import LITERT

#: Registration order is the order in which tables show them.
RUNTIMES: dict[str, Runtime] = {
    runtime.name: runtime for runtime in (LITERT, LITERT_LATEST, TFLITE_RUNTIME, TENSORFLOW)
}

__all__ = ["RUNTIMES", "Runtime", "RuntimeStatus", "Session"]
