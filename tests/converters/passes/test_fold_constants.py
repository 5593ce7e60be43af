"""Neutral operands go, numbers that are nearly neutral stay. Oracle: PyTorch; float32 sums of the same terms, so
results are equal.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from converters.source.torch_export import Exportable, Exporter, export_module
from tests.kits.graphs import export, noise, ops, rewrite, run_onnx, seeded

SHAPE = (1, 3, 4, 5)


class Function(nn.Module):
    """One function of one tensor."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x.abs())


@pytest.mark.parametrize("exporter", [Exporter.TORCHSCRIPT, Exporter.DYNAMO])
@pytest.mark.parametrize("epsilon", [1e-8, 1e-12, 1e-15, 1e-30])
def test_tiny_terms_stay(epsilon: float, exporter: Exporter) -> None:
    """0 / (0 + ε) is 0."""
    module = Function(lambda x: x / (x.sum(1, keepdim=True) + epsilon)).eval()
    rewritten, _ = rewrite(export_module(Exportable(module, {"x": SHAPE}, ("y",), "tiny"), exporter).model)
    assert ops(rewritten)["Add"] == 1
    x = noise(SHAPE)
    x[0, :, 0] = 0
    np.testing.assert_array_equal(run_onnx(rewritten, x), module(torch.from_numpy(x)).numpy())


@pytest.mark.parametrize(
    ("op", "function"),
    [
        ("Sub", lambda x: x - 1e-9),
        ("Mul", lambda x: x * 1.000002),
        ("Div", lambda x: x / 1.000002),
        ("Add", lambda x: 1e-9 + x),
    ],
)
def test_nearly_neutral_operands_stay(op: str, function: Callable[[Tensor], Tensor]) -> None:
    rewritten, _ = rewrite(export(Function(function), SHAPE))
    assert ops(rewritten)[op] == 1
    x = noise(SHAPE)
    np.testing.assert_array_equal(run_onnx(rewritten, x), function(torch.from_numpy(x).abs()).numpy())


@pytest.mark.parametrize(
    "function", [lambda x: x + 0.0, lambda x: 0.0 + x, lambda x: x - 0.0, lambda x: 1.0 * x, lambda x: x / 1.0]
)
def test_neutral_operands_go(function: Callable[[Tensor], Tensor]) -> None:
    rewritten, _ = rewrite(export(Function(function), SHAPE))
    assert dict(ops(rewritten)) == {"Abs": 1}


class Unfolded(nn.Module):
    """Patches of a map, as MobileViT takes them; the TorchScript exporter leaves their sizes open."""

    def forward(self, x: Tensor) -> Tensor:
        patches = nn.functional.unfold(x, 2, stride=2)
        return patches.softmax(1).sum(-1, keepdim=True).expand_as(patches).reshape(1, -1)


def test_sizes_that_follow_from_the_inputs_are_known() -> None:
    shape = (1, 3, 8, 12)
    stock = export(Unfolded(), shape)
    assert ops(stock)["Shape"]
    rewritten, _ = rewrite(stock)
    assert not {"Shape", "Range", "ConstantOfShape"} & set(ops(rewritten))
    x = noise(shape)
    # 1e-6: sums of the same terms in another order.
    np.testing.assert_allclose(run_onnx(rewritten, x), Unfolded()(torch.from_numpy(x)).numpy(), rtol=1e-6)


class Standardised(nn.Conv2d):
    """A convolution that standardises its weights at each call, as NFNet's."""

    def forward(self, x: Tensor) -> Tensor:
        flat = self.weight.reshape(1, self.out_channels, -1)
        gain = torch.full((self.out_channels,), 0.5)
        weight = nn.functional.batch_norm(flat, None, None, weight=gain, training=True, momentum=0.0, eps=1e-6)
        return nn.functional.conv2d(x, weight.reshape_as(self.weight), self.bias, self.stride, self.padding)


@pytest.mark.parametrize("channels", [(3, 5), (64, 64)])
def test_standardised_weights_are_computed(channels: tuple[int, int]) -> None:
    module = seeded(Standardised(*channels, 3, padding=1))
    shape = (1, channels[0], 9, 7)
    stock = export(module, shape)
    assert ops(stock)["BatchNormalization"]
    rewritten, _ = rewrite(stock)
    assert dict(ops(rewritten)) == {"Conv": 1}
    x = noise(shape)
    # Sums of up to 576 products in another order.
    np.testing.assert_allclose(run_onnx(rewritten, x), module(torch.from_numpy(x)).numpy(), atol=2e-5)


class Positions(nn.Module):
    """An embedding of positions for 4x3, stretched to the map's size at each call."""

    def __init__(self, mode: str) -> None:
        super().__init__()
        self.mode, self.table = mode, nn.Parameter(torch.zeros(1, 3, 4, 3))

    def forward(self, x: Tensor) -> Tensor:
        return x + nn.functional.interpolate(self.table, size=x.shape[2:], mode=self.mode)


@pytest.mark.parametrize("mode", ["bicubic", "bilinear", "nearest"])
@pytest.mark.parametrize("exporter", [Exporter.TORCHSCRIPT, Exporter.DYNAMO])
def test_a_resized_constant_is_computed(mode: str, exporter: Exporter) -> None:
    """onnx's own evaluator takes minutes for these 65 thousand numbers."""
    module, shape = seeded(Positions(mode)), (1, 3, 128, 170)
    stock = export_module(Exportable(module, {"x": shape}, ("y",), mode), exporter).model
    rewritten, _ = rewrite(stock)
    assert dict(ops(rewritten)) == {"Add": 1}
    x = noise(shape)
    # Weights of up to 16 neighbours in float32, rounded in another order.
    np.testing.assert_allclose(run_onnx(rewritten, x), module(torch.from_numpy(x)).numpy(), atol=3e-6)


class Windows(nn.Module):
    """Blocks that each pad to whole windows by the size that the block before gave, as Swin's."""

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(12):
            height = x.shape[2]
            x = nn.functional.pad(x, (0, 0, 0, (4 - height % 4) % 4)).reshape(1, 3, -1, 4, x.shape[3])
            x = torch.relu(x.reshape(1, 3, -1, x.shape[4])[:, :, :height]) + 1
        return x


def test_sizes_that_pass_from_block_to_block_are_known() -> None:
    shape = (1, 3, 8, 12)
    stock = export(Windows(), shape)
    assert ops(stock)["Shape"]
    rewritten, _ = rewrite(stock)
    assert "Shape" not in ops(rewritten)
    x = noise(shape)
    np.testing.assert_array_equal(run_onnx(rewritten, x), Windows()(torch.from_numpy(x)).numpy())


def test_what_is_computed_from_a_large_constant_is_one() -> None:
    """A mask of 10 000 places."""
    numbers = torch.arange(10_000).reshape(100, 100)
    module = Function(lambda x: torch.where(numbers % 7 > 3, x, -x))
    rewritten, _ = rewrite(export(module, (1, 1, 100, 100)))
    assert not ops(rewritten).keys() & {"Mod", "Greater", "Cast", "Reshape", "Range"}
    x = noise((1, 1, 100, 100))
    np.testing.assert_array_equal(run_onnx(rewritten, x), module(torch.from_numpy(x)).numpy())


def test_a_copied_size_is_of_its_own_input() -> None:
    """Reshape, and Reshape that copies two sizes, become one. Oracle: ONNX Runtime on the graph as it was."""
    shape, sizes = (3, 4, 2, 2), {"groups": [3, 2, 2, 2, 2], "flat": [0, 0, -1]}
    nodes = [
        helper.make_node("Reshape", ["x0", "groups"], ["grouped"]),
        helper.make_node("Reshape", ["grouped", "flat"], ["flattened"]),
        helper.make_node("Softmax", ["flattened"], ["y0"], axis=-1),
    ]
    graph = helper.make_graph(
        nodes,
        "copied",
        [helper.make_tensor_value_info("x0", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y0", TensorProto.FLOAT, (3, 2, 8))],
        [numpy_helper.from_array(np.array(numbers), name) for name, numbers in sizes.items()],
    )
    stock = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    rewritten, _ = rewrite(stock)
    assert ops(rewritten)["Reshape"] == 1
    np.testing.assert_array_equal(run_onnx(rewritten, noise(shape)), run_onnx(stock, noise(shape)))
