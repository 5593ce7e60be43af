"""Every model, precision, runtime, XNNPACK setting and number of threads: the outputs are those of the source.

Models, runtimes and precisions are found in their registries; a new one is in the matrix as soon as it is registered.
What was found is printed as a table behind the run and kept in ``build/parity.md``.
"""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from filelock import FileLock

from converters.parity.reference import SourceRequest
from converters.parity.stimuli import verification_stimuli
from converters.parity.verify import verify_model
from converters.source.load import load_source
from converters.tflite.inspection import inspect_model
from evit_mobile.cli.convert import command as convert_command
from evit_mobile.errors import EvitMobileError
from evit_mobile.models import ModelSpec, all_models
from evit_mobile.models.registry import VARIANT
from evit_mobile.runtimes import RUNTIMES, Runtime
from evit_mobile.specs import AUTO, Precision, Resolution

pytestmark = pytest.mark.timeout(900)  # the first use of a runtime downloads and installs it

#: Networks that are not ours: another linear attention, and two convolutional ones.
ZOO = ("timm:efficientvit_b0", "timm:mobilenetv3_large_100", "timm:efficientnet_b0")


#: (precision, runtime) -> what the runtime says of such a file: too new for it, and said so, is not a difference.
TOO_NEW = {
    (precision, "tflite-runtime"): "FULLY_CONNECTED up to version 10"
    for precision in (Precision.DYNAMIC, Precision.INT8)
}


@dataclass(frozen=True)
class Case:
    """A model as it is converted for the matrix; ``resolution`` None is the model's own."""

    model: str
    precision: Precision = Precision.FP32
    resolution: Resolution | None = None

    def __str__(self) -> str:
        at = f"@{self.resolution}" if self.resolution else ""
        return f"{self.model}{at}-{self.precision}"


def _precisions() -> list[Precision]:
    """The precisions that ``convert`` offers, without the word that has it choose one."""
    for option in convert_command.params:
        if option.name == "precision" and isinstance(option.type, click.Choice):
            return [Precision(choice) for choice in option.type.choices if choice != AUTO]
    return [Precision.FP32]


def _cases() -> list[Any]:
    """All of them; those that every run of the tests takes are not marked slow."""
    cases = []
    for precision in _precisions():
        cases.append(pytest.param(case := Case("base-r192", precision, Resolution(96, 96)), id=str(case)))
        names = [
            (name, spec)
            for spec in all_models()
            for name in (spec.name, *(_variants(spec) if precision == Precision.FP32 else ()))
        ]
        registered = [Case(name, precision, _smaller(spec.resolution)) for name, spec in names]
        for case in (*registered, *(Case(name, precision) for name in ZOO)):
            quick = case == Case("base-r224")
            cases.append(pytest.param(case, id=str(case), marks=() if quick else pytest.mark.slow))
    return cases


def _variants(spec: ModelSpec) -> list[str]:
    """The variants of the first model of each task: the others' are the same code at another size."""
    first = next(other for other in all_models() if other.task == spec.task)
    return [f"{spec.name}{VARIANT}{variant}" for variant in spec.variants] if spec is first else []


def _smaller(own: Resolution) -> Resolution | None:
    """For a model above 640 pixels a side one of the same shape with 512, so that TFLite's own kernels end within
    minutes.
    """
    longest = max(own.height, own.width)
    if longest <= 640:
        return None
    return Resolution(own.height * 512 // longest // 32 * 32, own.width * 512 // longest // 32 * 32)


@pytest.fixture(scope="session")
def judged(
    cache: Path, converted: Callable[..., Path], installed: Callable[[str], Runtime]
) -> Callable[[Case], dict[str, Any]]:
    """``judged(case)``: its parity report, and per runtime how the model is divided. Made once, by whichever worker
    asks first.
    """

    def judge(case: Case) -> dict[str, Any]:
        kept = cache / f"parity-{case}.json"
        with FileLock(f"{kept}.lock"):
            if not kept.exists():
                for name in RUNTIMES:
                    with contextlib.suppress(pytest.skip.Exception):  # its own tests will say so
                        installed(name)
                path = converted(
                    case.model,
                    precision=case.precision,
                    resolution=case.resolution,
                    calibration=_calibration(case, cache),
                )
                report = verify_model(path, SourceRequest(), runtimes=list(RUNTIMES.values())).to_json()
                kept.write_text(json.dumps({**report, "division": {name: _division(path, name) for name in RUNTIMES}}))
        document: dict[str, Any] = json.loads(kept.read_text())
        return document

    return judge


def _calibration(case: Case, folder: Path) -> str | None:
    """The verification inputs, where the precision wants to see values: what is judged is the arithmetic, not the
    generalisation.
    """
    if case.precision is not Precision.INT8:
        return None
    source = load_source(case.model, case.resolution)
    assert source.resolution is not None
    stimuli = verification_stimuli(source.resolution, source.channels, source.preprocessing)
    path = folder / f"calibration-{case}.npz"
    np.savez(path, images=np.concatenate([stimulus.image for stimulus in stimuli]))
    return str(path)


def _division(path: Path, name: str) -> tuple[int, dict[str, int]] | None:
    """Partitions, and type -> number of the undelegated ops; None where the runtime does not load the model, or does
    not say.
    """
    try:
        inspection = inspect_model(path, RUNTIMES[name], explain=False)
    except EvitMobileError:
        return None
    if inspection.partitions is None:
        return None
    return inspection.partitions, dict(Counter(op.type for op in inspection.undelegated).most_common())


@pytest.mark.parametrize(
    ("runtime", "xnnpack", "threads"),
    [
        pytest.param(name, xnnpack, threads, id=f"{name}-{'xnnpack' if xnnpack else 'plain'}-{threads}")
        for name, runtime in RUNTIMES.items()
        for xnnpack, threads in runtime.configurations
    ],
)
@pytest.mark.parametrize("case", _cases())
def test_parity(
    case: Case,
    runtime: str,
    xnnpack: bool,
    threads: int,
    judged: Callable[[Case], dict[str, Any]],
    installed: Callable[[str], Runtime],
    record_property: Callable[[str, object], None],
) -> None:
    installed(runtime)
    report = judged(case)
    rows = [
        row for row in report["rows"] if (row["runtime"], row["xnnpack"], row["threads"]) == (runtime, xnnpack, threads)
    ]
    (state,) = (state for state in report["runtimes"] if state["name"] == runtime)
    worst = max((row["relative_error"] or 0.0 for row in rows), default=None)
    passed = bool(rows) and state["error"] is None and all(row["passed"] for row in rows)
    if too_new := TOO_NEW.get((case.precision, runtime)):
        assert too_new in state["error"] and not rows
        return
    record_property(
        "parity",
        {
            "case": str(case),
            "runtime": state["version"],
            "setting": f"XNNPACK {'on' if xnnpack else 'off'}, {threads} thr.",
            "worst": worst,
            "passed": passed,
            "division": report["division"][runtime],
        },
    )
    assert state["error"] is None
    assert {row["input"] for row in rows} == set(report["inputs"])
    for row in rows:
        allowed = report["criterion"]["bound"]
        said = f"{row['input']}, {row['output']}: {row['failure'] or row['relative_error']}, allowed {allowed}"
        assert row["passed"], said


@pytest.mark.parametrize("case", [case for case in _cases() if case.values[0].precision == Precision.FP32])
def test_one_partition(case: Case, judged: Callable[[Case], dict[str, Any]]) -> None:
    """XNNPACK runs every op of every model in one piece, but for the one of ``+argmax``, which it does not know."""
    outside = {"ARG_MAX": 1} if "argmax" in case.model else {}
    assert judged(case)["division"]["litert"] == [1, outside]
