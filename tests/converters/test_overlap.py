"""int8 on the trained detector and segmenter, on drawings that training did not see.

Oracle: where the shapes were drawn. int8 may cost 0.01 of the mean intersection over union.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from benchmarks.accuracy import shapes
from benchmarks.accuracy.overlap import box_overlap, mask_overlap
from evit_mobile.specs import Precision

DATA = Path(__file__).resolve().parent.parent / "data"
DRAWINGS = 64


@pytest.fixture(scope="module")
def calibration(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("calibration") / "drawings.npz"
    np.savez(path, np.concatenate(list(shapes.calibration())))
    return str(path)


@pytest.mark.parametrize(
    ("name", "measure", "least"), [("shapes-det", box_overlap, 0.9), ("shapes-seg", mask_overlap, 0.9)]
)
def test_int8_keeps_the_overlap(
    name: str, measure: Callable[[Path, int], float], least: float, calibration: str, converted: Callable[..., Path]
) -> None:
    weights = DATA / f"{name}.safetensors" if name == "shapes-seg" else None  # the detector's come with the package
    exact = measure(converted(name, weights=weights), DRAWINGS)
    int8 = measure(converted(name, weights=weights, precision=Precision.INT8, calibration=calibration), DRAWINGS)
    assert exact >= least
    assert int8 >= exact - 0.01
