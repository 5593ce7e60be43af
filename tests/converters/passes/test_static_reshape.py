"""Sizes of Reshape stand in the file. Oracle: PyTorch; values are not touched, so results are equal."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from tests.kits.graphs import export, noise, ops, rewrite, run_onnx


class Shaped(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x * 2) * 3


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.flatten(1),
        lambda x: x[None, :, None].abs().permute(3, 1, 2, 0, 4, 5).squeeze(1),
        lambda x: x.reshape(-1, 1, 6),
    ],
)
def test_rewritten(function: Callable[[Tensor], Tensor]) -> None:
    module = Shaped(function)
    rewritten, reports = rewrite(export(module, (1, 4, 3, 6)))
    assert reports["static-reshape"].fired
    assert not ops(rewritten).keys() & {"Flatten", "Squeeze", "Unsqueeze"}
    sizes = {item.name: numpy_helper.to_array(item) for item in rewritten.graph.initializer}
    for node in rewritten.graph.node:
        assert node.op_type != "Reshape" or (sizes[node.input[1]] > 0).all()
    x = noise((1, 4, 3, 6))
    np.testing.assert_array_equal(run_onnx(rewritten, x), module(torch.from_numpy(x)).numpy())


def test_said_sizes_and_maps_stay() -> None:
    module = Shaped(lambda x: x.reshape(4, 3, 6).unsqueeze(0))
    _, reports = rewrite(export(module, (1, 4, 3, 6)))
    assert not reports["static-reshape"].fired


def test_an_integer_reshape_stays() -> None:
    ends = [helper.make_tensor_value_info(name, TensorProto.INT64, [4]) for name in ("x", "y")]
    sizes = numpy_helper.from_array(np.array([-1]), "sizes")
    node = helper.make_node("Reshape", ["x", "sizes"], ["y"])
    model = helper.make_model(
        helper.make_graph([node], "g", ends[:1], ends[1:], [sizes]),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    onnx.checker.check_model(model)
    _, reports = rewrite(model)
    assert not reports["static-reshape"].fired
