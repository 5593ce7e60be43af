"""The runtimes that can run a .tflite; ``RUNTIMES`` is the list that commands and tests read."""

import difflib

from evit_mobile.errors import RequestError
from evit_mobile.runtimes.base import Runtime, RuntimeStatus, Session
from evit_mobile.runtimes.foreign import COMPILED_MODEL_LATEST, LITERT_LATEST, TENSORFLOW, TFLITE_RUNTIME
from evit_mobile.runtimes.litert import COMPILED_MODEL, LITERT

#: Registration order is the order in which tables show them.
RUNTIMES: dict[str, Runtime] = {
    runtime.name: runtime
    for runtime in (LITERT, LITERT_LATEST, COMPILED_MODEL, COMPILED_MODEL_LATEST, TFLITE_RUNTIME, TENSORFLOW)
}

__all__ = ["RUNTIMES", "Runtime", "RuntimeStatus", "Session", "find_runtime"]


def find_runtime(name: str) -> Runtime:
    """The runtime called ``name``, installed or not.

    Raises:
        RequestError: there is no such runtime, and what is like it.
    """
    if name not in RUNTIMES:
        near = difflib.get_close_matches(name, RUNTIMES, 1)
        hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(RUNTIMES)}"
        raise RequestError(f"there is no runtime {name!r}", hint=hint)
    return RUNTIMES[name]
