"""Gathers along several axes become gathers along one. Oracle: ONNX Runtime on the graph as it was, and PyTorch;
elements are only moved, so results are equal.
"""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from converters.source.torch_export import Exportable, Exporter, export_module
from tests.kits.graphs import noise, ops, rewrite, run_onnx


def _gather(shape: tuple[int, ...], indices: list[object], batch_dims: int = 0) -> onnx.ModelProto:
    nodes = [
        helper.make_node("Relu", ["x0"], ["positive"]),
        helper.make_node("GatherND", ["positive", "indices"], ["y0"], batch_dims=batch_dims),
    ]
    inputs = [helper.make_tensor_value_info("x0", TensorProto.FLOAT, shape)]
    outputs = [helper.make_tensor_value_info("y0", TensorProto.FLOAT, None)]
    constants = [numpy_helper.from_array(np.array(indices, np.int64), "indices")]
    graph = helper.make_graph(nodes, "gather", inputs, outputs, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize(
    ("shape", "indices"),
    [
        ((2, 2, 2), [[[0, 1]], [[1, 0]]]),
        ((1, 3, 3, 3), [[0, 2], [0, -3]]),
        ((1, 4, 5), [[0, 1, 4], [0, 3, 0]]),
        ((3, 3), [[2], [0], [2]]),
    ],
)
def test_rewritten(shape: tuple[int, ...], indices: list[object]) -> None:
    stock = _gather(shape, indices)
    rewritten, reports = rewrite(stock)
    assert reports["gather-places"].fired == 1 and "GatherND" not in ops(rewritten)
    x = noise(shape)
    np.testing.assert_array_equal(run_onnx(rewritten, x), run_onnx(stock, x))


class Exchanged(nn.Module):
    """Two channels, in another order."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x)[:, [2, 0]]


def test_as_the_newer_exporter_writes_it() -> None:
    shape = (1, 3, 4, 5)
    stock = export_module(Exportable(Exchanged().eval(), {"x": shape}, ("y",), "exchanged"), Exporter.DYNAMO).model
    rewritten, _ = rewrite(stock)
    assert "GatherND" not in ops(rewritten)
    x = noise(shape)
    np.testing.assert_array_equal(run_onnx(rewritten, x), Exchanged()(torch.from_numpy(x)).numpy())


def test_a_batch_is_declined() -> None:
    rewritten, reports = rewrite(_gather((2, 3, 4), [[1], [0]], batch_dims=1))
    assert "batch" in reports["gather-places"].declined[0].reason and ops(rewritten)["GatherND"] == 1
