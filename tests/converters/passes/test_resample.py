"""Resizing by matrices and repetition. Oracle: ONNX Runtime on the graph before; 1e-6: sums in another order."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.kits.graphs import noise, ops, relative_error, rewrite, run_onnx

SHAPE = (1, 4, 4, 6)


def _resize(
    opset: int = 18,
    scales: tuple[float, ...] = (),
    sizes: tuple[int, ...] = (),
    kind: str = "Resize",
    **attributes: Any,
) -> onnx.ModelProto:
    constants = []
    if scales:
        constants.append(numpy_helper.from_array(np.array(scales, np.float32), "scales"))
    if sizes:
        constants.append(numpy_helper.from_array(np.array(sizes, np.int64), "sizes"))
    old = ["x", "scales"]
    inputs = old if opset <= 10 else ["x", "", "scales"] if scales else ["x", "", "", "sizes"]
    nodes = [helper.make_node(kind, inputs, ["r"], **attributes), helper.make_node("Neg", ["r"], ["y"])]
    graph = helper.make_graph(
        nodes,
        "resize",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, SHAPE)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    return onnx.shape_inference.infer_shapes(model, data_prop=True)


@pytest.mark.parametrize("nearest", ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"])
@pytest.mark.parametrize("mode", ["half_pixel", "asymmetric", "align_corners"])
@pytest.mark.parametrize("sizes", [(1, 4, 8, 12), (1, 4, 7, 5), (1, 4, 4, 9)])
def test_nearest(nearest: str, mode: str, sizes: tuple[int, ...]) -> None:
    model = _resize(sizes=sizes, mode="nearest", nearest_mode=nearest, coordinate_transformation_mode=mode)
    rewritten, reports = rewrite(model)
    assert reports["resample"].fired == 1 and "Resize" not in ops(rewritten)
    np.testing.assert_array_equal(run_onnx(rewritten, noise(SHAPE)), run_onnx(model, noise(SHAPE)))


@pytest.mark.parametrize(
    "options",
    [
        {"scales": (1, 1, 1.7, 0.6), "mode": "linear"},
        {"scales": (1, 1, 2, 2), "mode": "cubic", "cubic_coeff_a": -0.5},
        {"sizes": (1, 4, 3, 2), "mode": "linear", "antialias": 1},
        {"sizes": (7, 8), "axes": (2, 3), "mode": "nearest", "keep_aspect_ratio_policy": "not_larger"},
        {"sizes": (8, 6), "axes": (2, 3), "mode": "cubic", "keep_aspect_ratio_policy": "not_smaller"},
        {"sizes": (1, 4, 3, 4), "mode": "cubic", "antialias": 1, "exclude_outside": 1},
        {"sizes": (3, 12), "axes": (2, 3), "mode": "cubic", "coordinate_transformation_mode": "align_corners"},
        {"opset": 9, "kind": "Upsample", "scales": (1, 1, 2, 3), "mode": "nearest"},
        {"opset": 10, "scales": (1, 1, 1.5, 2), "mode": "nearest"},
    ],
)
def test_other_kinds(options: dict[str, Any]) -> None:
    model = _resize(**options)
    rewritten, reports = rewrite(model)
    assert reports["resample"].fired == 1 and not {"Resize", "Upsample"} & set(ops(rewritten))
    assert relative_error(run_onnx(model, noise(SHAPE)), run_onnx(rewritten, noise(SHAPE))) <= 1e-6


@pytest.mark.parametrize(
    "options",
    [
        {"scales": (1, 1, 2, 2), "coordinate_transformation_mode": "half_pixel"},
        {"sizes": (1, 4, 7, 5), "coordinate_transformation_mode": "align_corners"},
        {"sizes": (1, 4, 7, 5), "coordinate_transformation_mode": "asymmetric"},
    ],
)
def test_what_tflite_computes_stays(options: dict[str, Any]) -> None:
    rewritten, reports = rewrite(_resize(mode="linear", **options))
    assert reports["resample"].fired == 0 and ops(rewritten)["Resize"] == 1
