"""Grids of spatial transformers become products. Oracle: PyTorch's affine_grid in float64; relative error within 1e-6,
ten roundings of float32.
"""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F
from onnx import TensorProto, helper, numpy_helper

from tests.kits.graphs import noise, ops, relative_error, rewrite, run_onnx


@pytest.mark.parametrize("size", [(2, 3, 5, 6), (1, 3, 4, 5, 6), (1, 1, 2, 3)])
@pytest.mark.parametrize("aligned", [False, True])
def test_rewritten(size: tuple[int, ...], aligned: bool) -> None:
    rank = len(size) - 2
    shape = (size[0], rank, rank + 1)
    nodes = [
        helper.make_node("Tanh", ["x0"], ["theta"]),
        helper.make_node("AffineGrid", ["theta", "size"], ["y0"], align_corners=int(aligned)),
    ]
    inputs = [helper.make_tensor_value_info("x0", TensorProto.FLOAT, shape)]
    outputs = [helper.make_tensor_value_info("y0", TensorProto.FLOAT, (size[0], *size[2:], rank))]
    graph = helper.make_graph(nodes, "grid", inputs, outputs, [numpy_helper.from_array(np.array(size), "size")])
    stock = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    onnx.checker.check_model(stock)
    rewritten, reports = rewrite(stock)
    assert reports["affine-grid"].fired == 1 and "AffineGrid" not in ops(rewritten)
    theta = torch.from_numpy(noise(shape)).double().tanh()
    expected = F.affine_grid(theta, list(size), align_corners=aligned).numpy()
    assert relative_error(expected, run_onnx(rewritten, noise(shape))) <= 1e-6
