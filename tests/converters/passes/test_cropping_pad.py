"""Padding by less than nothing, and of named axes. Oracle: PyTorch, ONNX Runtime; values are only moved, so results are
equal.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from tests.kits.graphs import export, noise, ops, rewrite, run_onnx


class Padded(nn.Module):
    def __init__(self, pads: tuple[int, ...], value: float = 0.0) -> None:
        super().__init__()
        self.pads, self.value = pads, value

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x * 2, self.pads, value=self.value)


@pytest.mark.parametrize(
    ("pads", "value", "pad_ops"),
    [((-1, 2, -3, 1), 0.0, 1), ((-1, -2), 0.0, 0), ((0, 0, 2, -1, 0, -1), 1.5, 1)],
)
def test_rewritten(pads: tuple[int, ...], value: float, pad_ops: int) -> None:
    module = Padded(pads, value)
    rewritten, reports = rewrite(export(module, (1, 3, 6, 7)))
    assert reports["cropping-pad"].fired == 1
    assert ops(rewritten)["Pad"] == pad_ops and ops(rewritten)["Slice"]
    x = noise((1, 3, 6, 7))
    np.testing.assert_array_equal(run_onnx(rewritten, x), module(torch.from_numpy(x)).numpy())


def test_padding_stays() -> None:
    rewritten, reports = rewrite(export(Padded((1, 2)), (1, 3, 6, 7)))
    assert not reports["cropping-pad"].fired and ops(rewritten)["Pad"] == 1


@pytest.mark.parametrize("mode", ["constant", "reflect"])
@pytest.mark.parametrize("axes", [[3], [-2, -1]])
def test_named_axes_become_all(mode: str, axes: list[int]) -> None:
    shape, pads = (1, 3, 6, 7), [1, 2] * len(axes)
    constants = {"pads": np.array(pads), "axes": np.array(axes)}
    node = helper.make_node("Pad", ["x0", "pads", "", "axes"], ["y0"], mode=mode)
    graph = helper.make_graph(
        [node],
        "padded",
        [helper.make_tensor_value_info("x0", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y0", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(values, name) for name, values in constants.items()],
    )
    stock = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    rewritten, reports = rewrite(stock)
    assert reports["cropping-pad"].fired == 1 and all(len(node.input) < 4 for node in rewritten.graph.node)
    np.testing.assert_array_equal(run_onnx(rewritten, noise(shape)), run_onnx(stock, noise(shape)))
