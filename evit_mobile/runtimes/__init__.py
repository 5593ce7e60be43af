"""The runtimes that can run a .tflite, one file each; ``RUNTIMES`` is the list that commands and tests read."""

from evit_mobile.runtimes.base import Runtime, Session
from evit_mobile.runtimes.litert import LITERT

#: Registration order is the order in which tables show them.
RUNTIMES: dict[str, Runtime] = {runtime.name: runtime for runtime in (LITERT,)}

__all__ = ["RUNTIMES", "Runtime", "Session"]
