"""The table of op versions, against TensorFlow's own and against what the real runtimes load."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest

from evit_mobile.errors import RequestError
from evit_mobile.runtimes import Runtime
from evit_mobile.runtimes.foreign import ForeignRuntime
from evit_mobile.tflite.file import Tflite
from evit_mobile.tflite.versions import OpVersion, minimum_runtime_version, newest_known, op_versions

pytestmark = pytest.mark.timeout(900)  # the first use of a runtime downloads and installs it

TABLE = json.loads((Path(__file__).parents[2] / "evit_mobile" / "tflite" / "op_versions.json").read_text())


def test_table_is_what_tensorflow_says(installed: Callable[[str], Runtime]) -> None:
    """Every op and version that TensorFlow's converter knows, asked of its own function."""
    environment = cast(ForeignRuntime, installed("tensorflow")).environment
    script = Path(__file__).with_name("tensorflow_op_versions.py")
    done = subprocess.run([environment.interpreter, "-I", script], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == TABLE


def test_table_is_what_tflite_runtime_loads(
    installed: Callable[[str], Runtime], declares: Callable[[str, int], Path]
) -> None:
    """For each op: its newest version in 2.14.0 loads, the next does not and is reported as too new, never as a
    crash.
    """
    runtime = installed("tflite-runtime")
    for op in TABLE:
        known = newest_known(op, "2.14.0")
        if known:
            with runtime.open(declares(op, known)):
                pass
        with pytest.raises(RequestError) as caught, runtime.open(declares(op, known + 1)):
            pass
        reported = (
            f"it knows {op} up to version {known}, the model needs {known + 1}"
            if known
            else f"it does not know {op} version 1"
        )
        assert f"too new for tflite-runtime 2.14.0: {reported}" in str(caught.value)


@pytest.mark.parametrize("name", ["litert", "litert-latest", "tensorflow"])
def test_every_runtime_reports_an_op_from_the_future(
    name: str, installed: Callable[[str], Runtime], declares: Callable[[str, int], Path]
) -> None:
    with pytest.raises(RequestError, match="too new for .* TRANSPOSE .*99"):
        with installed(name).open(declares("TRANSPOSE", 99)):
            pass


def test_an_op_that_no_schema_knows(installed: Callable[[str], Runtime], declares: Callable[[str, int], Path]) -> None:
    """STABLEHLO_CBRT is beyond the enumeration that tflite-runtime 2.14.0 was built with."""
    with pytest.raises(
        RequestError, match="too new for tflite-runtime 2.14.0: it does not know STABLEHLO_CBRT version 1"
    ):
        with installed("tflite-runtime").open(declares("STABLEHLO_CBRT", 1)):
            pass


@pytest.mark.parametrize(
    ("op", "version", "release"),
    [
        ("ADD", 1, "1.5.0"),
        ("FULLY_CONNECTED", 12, "2.17.0"),
        ("CONV_2D", 8, "2.15.0"),
        ("BROADCAST_TO", 1, None),
        ("ADD", 99, None),
    ],
)
def test_minimum_runtime(declares: Callable[[str, int], Path], op: str, version: int, release: str | None) -> None:
    model = Tflite.read(declares(op, version)).tree
    assert op_versions(model) == [OpVersion(op, version)]
    assert minimum_runtime_version(model) == release


def test_minimum_runtime_of_a_model(small_tflite: Path) -> None:
    release = minimum_runtime_version(Tflite.read(small_tflite).tree)
    assert release is not None
    assert (2, 0) < tuple(map(int, release.split("."))) <= (2, 14, 0)
