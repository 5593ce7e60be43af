"""Run as a program by ``benchmarks.nodes.run``: ``python -P -m benchmarks.nodes.worker``. It converts tests and judges
the files.

It answers frames (see ``evit_mobile.runtimes.wire``): ``judge`` with the name and the folder of a test.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from evit_mobile.arrays import Array
from evit_mobile.errors import ClaimError, EvitMobileError, RequestError
from evit_mobile.runtimes import worker

if TYPE_CHECKING:
    from benchmarks.nodes.cases import Case

#: A value is right where it differs by no more than this part of the output's largest magnitude: verify's bound for
#: fp32. An output is computed in half precision by the test where its input or itself is: 2^-9, two roundings.
BOUND, HALF_BOUND = 1e-4, 2**-9
#: And by no more than this where all are 0.
_ABSOLUTE = 1e-6
#: What onnx itself allows its tests, some of whose outputs were typed with four digits: this part of each value.
_TYPED = 1e-3


class Outcome(StrEnum):
    """What became of a test: its file is right or wrong, or there is none, by exit code 2, 1 or 4.

    A file is ``DISPUTED`` where it is not what the test says, but what ONNX Runtime computes for the test.
    """

    RIGHT = "right"
    DISPUTED = "as ONNX Runtime, not as the test"
    REFUSED = "refused"
    STOPPED = "stopped by the check"
    FAILED = "failed"
    WRONG = "wrong"


@dataclass(frozen=True)
class Verdict:
    """A test's outcome, why it is not ``right``, and the time that it took."""

    name: str
    op: str
    outcome: Outcome
    reason: str | None
    seconds: float


def judge(name: str, folder: Path) -> Verdict:
    """Convert a test and run what came out on the test's own values, XNNPACK on and off."""
    from benchmarks.nodes.cases import load_case
    from converters.onnx_session import open_session
    from converters.pipeline import convert_in_memory

    start = time.perf_counter()
    case = load_case(name, folder)
    path = Path(f"{name}.onnx")
    path.write_bytes(case.model.SerializeToString())
    outcome, reason = Outcome.RIGHT, None
    try:
        content = convert_in_memory(str(path)).content
        reason = _fault(content, case, case.outputs)
        if reason is not None:
            disputed = _fault(content, case, open_session(case.model)(case.inputs)) is None
            outcome = Outcome.DISPUTED if disputed else Outcome.WRONG
    except RequestError as error:
        outcome, reason = Outcome.REFUSED, str(error)
    except ClaimError as error:
        outcome, reason = Outcome.STOPPED, str(error)
    except Exception as error:  # what the command line calls this machine's failure or our own bug
        own = isinstance(error, EvitMobileError)
        outcome, reason = Outcome.FAILED, str(error) if own else f"{type(error).__name__}: {error}"
    finally:
        path.unlink()
    return Verdict(name, case.op, outcome, reason, round(time.perf_counter() - start, 2))


def _fault(content: bytes, case: Case, outputs: Mapping[str, Array]) -> str | None:
    """What is wrong with a file that has to give ``outputs``; None if nothing is."""
    from converters.parity.layout import arrays_for
    from evit_mobile.runtimes import RUNTIMES
    from evit_mobile.tflite.file import Tflite

    with Tflite(content).on_disk() as path:
        for xnnpack in (True, False):
            try:
                with RUNTIMES["litert"].open(path, xnnpack=xnnpack) as session:
                    results = session.run(arrays_for(session.inputs, case.inputs))
                    actual = dict(zip(session.output_names(), results))
            except (EvitMobileError, RuntimeError, ValueError) as error:
                return f"does not run: {error}"
            for output, expected in outputs.items():
                fault = _difference(actual, output, expected, case)
                if fault is not None:
                    return f"{'with' if xnnpack else 'without'} XNNPACK, output {output} {fault}"
    return None


def _difference(actual: dict[str, Array], output: str, expected: Array, case: Case) -> str | None:
    from converters.parity.layout import from_file
    from evit_mobile.specs import OutputLayout

    value = actual.get(output)
    if value is None:
        return "is missing"
    value = from_file(value, expected.shape, OutputLayout.NHWC)
    if value.shape != expected.shape:
        return f"has the shape {value.shape}, not {expected.shape}"
    half = any(array.dtype.itemsize == 2 for array in (expected, *case.inputs.values()))
    wide = expected.astype(np.float64)
    largest = np.abs(wide[np.isfinite(wide)]).max(initial=0)
    tolerance = (HALF_BOUND if half else BOUND) * largest + _ABSOLUTE
    if np.allclose(value.astype(np.float64), wide, rtol=_TYPED, atol=tolerance, equal_nan=True):
        return None
    return f"is off by {np.nanmax(np.abs(value.astype(np.float64) - wide)):.3g} of {largest:.3g}"


def _start() -> worker.Answer:
    from benchmarks.forked import forked_lowering

    os.chdir(tempfile.mkdtemp(prefix="nodes-"))

    def answer(request: dict[str, Any], arrays: list[Array]) -> tuple[Any, list[Array]]:
        with forked_lowering():
            return asdict(judge(request["name"], Path(request["folder"]))), []

    return answer


if __name__ == "__main__":
    worker.run(_start)
