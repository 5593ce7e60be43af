"""What is CompiledModel's own: what it says of the accelerator, which options it has, types of its buffers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from converters.tflite.inspection import inspect_model
from evit_mobile.errors import RequestError
from evit_mobile.runtimes import RUNTIMES, Runtime
from evit_mobile.runtimes.inputs import random_input
from evit_mobile.specs import Activation, Ends, Pixels, Resolution
from tests.conftest import SMALL_MODEL

pytestmark = pytest.mark.timeout(900)  # the first use of a runtime downloads and installs it

NAMES = [name for name, runtime in RUNTIMES.items() if not runtime.lists_ops]


@pytest.mark.parametrize("name", NAMES)
def test_bytes_in(name: str, converted: Callable[..., Path], installed: Callable[[str], Runtime]) -> None:
    """uint8, which the buffers of 2.1.2 do not know: to the bit what the interpreter of the same release gives."""
    ends = Ends(Pixels.UINT8, Activation.SOFTMAX)
    file = converted(SMALL_MODEL, resolution=Resolution(96, 96), ends=ends)
    interpreter = {"compiled-model": "litert", "compiled-model-latest": "litert-latest"}[name]
    outputs = []
    for runtime in (installed(name), installed(interpreter)):
        with runtime.open(file) as session:
            (info,) = session.inputs
            assert info.dtype == "uint8"
            outputs.append(session.run([random_input(info.shape, info.dtype)]))
    np.testing.assert_array_equal(outputs[0], outputs[1])


@pytest.mark.parametrize("name", NAMES)
def test_long_integers_out(name: str, rounding: Path, installed: Callable[[str], Runtime]) -> None:
    """int64, which no version's buffers know."""
    with installed(name).open(rounding) as session:
        (result,) = session.run([np.array([[0, 1.5, -2], [2**20, 7, 9.9]], np.float32)])
    assert result.dtype == np.int64
    np.testing.assert_array_equal(result, [[0, 1, -2], [2**20, 7, 9]])


def test_an_op_outside_is_not_accelerated(dividing_tflite: Path, installed: Callable[[str], Runtime]) -> None:
    """A division of integers, which the interpreter of the same release leaves to TFLite's own kernel. 2.1.2 does not
    say.
    """
    assert len(inspect_model(dividing_tflite, installed("litert-latest"), explain=False).undelegated) == 1
    found = inspect_model(dividing_tflite, installed("compiled-model-latest"))
    assert (found.fully_accelerated, found.partitions, found.undelegated_count) == (False, None, None)
    assert found.content.undelegated_ops is None and found.to_json()["undelegated_count"] is None
    assert inspect_model(dividing_tflite, installed("compiled-model")).fully_accelerated is None


@pytest.mark.parametrize("options", [{"threads": 2}, {"xnnpack": False}])
def test_options_that_the_older_has_not(options: dict[str, int], tiny_tflite: Path) -> None:
    with pytest.raises(RequestError, match="no options: it runs on XNNPACK, with one thread"):
        with RUNTIMES["compiled-model"].open(tiny_tflite, **options):  # type: ignore[arg-type]
            pass
