"""Recurrent layers step by step. Oracle: PyTorch's own layers, and ONNX Runtime for what PyTorch does not write.

1e-6 at values of at most 1: other orders of the same sums.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from converters.passes.recurrent import MOST_STEPS
from tests.kits.graphs import export, noise, ops, rewrite, run_onnx

#: Steps, batch, size: as many steps as hidden units.
SHAPE = (6, 2, 5)
RECURRENT = {"LSTM", "GRU", "RNN"}


class _Layer(nn.Module):
    """A layer's output, or its last states."""

    def __init__(self, layer: nn.Module, last: bool = False) -> None:
        super().__init__()
        self.layer, self.last = layer, last

    def forward(self, x: Tensor) -> Tensor:
        output, states = self.layer(x)
        if not self.last:
            return output  # type: ignore[no-any-return]
        return torch.cat(states) if isinstance(states, tuple) else states


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("last", [False, True])
def test_pytorchs_layers(kind: type[nn.Module], both: bool, last: bool) -> None:
    torch.manual_seed(0)
    module = _Layer(kind(5, 6, 2, bidirectional=both), last).eval()
    model = export(module, SHAPE)
    rewritten, reports = rewrite(model)
    assert reports["recurrent"].fired == 2 and not RECURRENT & set(ops(rewritten))
    x = noise(SHAPE)
    expected = module(torch.from_numpy(x)).detach().numpy()
    np.testing.assert_allclose(run_onnx(rewritten, x), expected, rtol=1e-6, atol=1e-6)


def _node(kind: str, gates: int, steps: int = 6, first: bool = True, **attributes: Any) -> onnx.ModelProto:
    random = np.random.default_rng(0)
    ways = 2 if attributes.get("direction") == "bidirectional" else 1
    shapes = {"W": (ways, gates * 4, 5), "R": (ways, gates * 4, 4), "B": (ways, 2 * gates * 4), "h": (ways, 2, 4)}
    constants = [numpy_helper.from_array(random.normal(0, 0.5, s).astype(np.float32), n) for n, s in shapes.items()]
    inputs = ["x", "W", "R", "B", "", "h" if first else ""]
    nodes = [helper.make_node(kind, inputs, ["y"], hidden_size=4, **attributes)]
    graph = helper.make_graph(
        nodes,
        "recurrent",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (steps, 2, 5))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (steps, ways, 2, 4))],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize(
    ("kind", "gates", "attributes"),
    [
        ("GRU", 3, {}),  # the reset before the product
        ("GRU", 3, {"linear_before_reset": 1, "direction": "reverse"}),
        ("LSTM", 4, {"direction": "bidirectional"}),
        ("RNN", 1, {"direction": "reverse", "activations": ["Relu"]}),
    ],
)
@pytest.mark.parametrize("first", [False, True])
def test_onnxs_definitions(kind: str, gates: int, attributes: dict[str, Any], first: bool) -> None:
    model = _node(kind, gates, first=first, **attributes)
    rewritten, reports = rewrite(model)
    assert reports["recurrent"].fired == 1
    x = noise((6, 2, 5))
    np.testing.assert_allclose(run_onnx(rewritten, x), run_onnx(model, x), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (_node("LSTM", 4, clip=1.0), "clips"),
        (_node("RNN", 1, activations=["Softsign"]), "Softsign"),
        (_node("RNN", 1, steps=MOST_STEPS + 1), f"{MOST_STEPS + 1} steps"),
    ],
)
def test_what_is_unusual_stays(model: onnx.ModelProto, reason: str) -> None:
    rewritten, reports = rewrite(model)
    assert reports["recurrent"].fired == 0 and reason in reports["recurrent"].declined[0].reason
    assert RECURRENT & set(ops(rewritten))
