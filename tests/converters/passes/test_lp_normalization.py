"""Vectors of norm 1 are quotients. Oracle: PyTorch in float64; relative error within 1e-6, ten roundings of float32."""

from __future__ import annotations

import onnx
import pytest
import torch
import torch.nn.functional as F
from onnx import TensorProto, helper

from tests.kits.graphs import noise, ops, relative_error, rewrite, run_onnx

SHAPE = (2, 3, 4, 5)


def _normalised(**attributes: int) -> onnx.ModelProto:
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, SHAPE) for name in ("x0", "y0")]
    graph = helper.make_graph(
        [helper.make_node("LpNormalization", ["x0"], ["y0"], **attributes)], "g", values[:1], values[1:]
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


@pytest.mark.parametrize("axis", [1, -1])
@pytest.mark.parametrize("p", [1, 2])
def test_rewritten(axis: int, p: int) -> None:
    rewritten, reports = rewrite(_normalised(axis=axis, p=p))
    assert reports["lp-normalization"].fired == 1 and "LpNormalization" not in ops(rewritten)
    x = noise(SHAPE)
    x[0, :, 0], x[1, 2, 3] = 0, 0
    expected = F.normalize(torch.from_numpy(x).double(), p, axis).numpy()
    assert relative_error(expected, run_onnx(rewritten, x)) <= 1e-6
