"""Linear layers become Gemm, bias and all. Oracle: PyTorch in float64."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from converters.source.torch_export import Exportable, Exporter, export_module
from tests.kits.graphs import export, noise, ops, relative_error, rewrite, run_onnx, seeded


class Product(nn.Module):
    """A map by a constant matrix, from the left or the right."""

    def __init__(self, left: bool) -> None:
        super().__init__()
        self.left, self.weight = left, nn.Parameter(torch.zeros(6, 6))

    def forward(self, x: Tensor) -> Tensor:
        return self.weight @ x if self.left else x @ self.weight


class Gram(nn.Module):
    """A map by itself: no constant."""

    def forward(self, x: Tensor) -> Tensor:
        return x @ x.transpose(-1, -2)


class SumRead(nn.Module):
    """The product is read without its bias, too."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.zeros(8, 4)), nn.Parameter(torch.zeros(4))

    def forward(self, x: Tensor) -> Tensor:
        y = x @ self.weight
        return torch.relu(y + self.bias) - y


# Tokens as many as channels in and out, more tokens than channels, maps of rank 2 and 4.
CASES = [
    (nn.Linear(6, 6), (1, 6, 6)),
    (nn.Linear(8, 12, bias=False), (1, 5, 8)),
    (nn.Linear(8, 12, bias=False), (1, 8)),
    (nn.Linear(8, 3), (1, 3, 5, 8)),
    (nn.Linear(8, 1), (2, 7, 8)),
    (Product(left=False), (1, 6, 6)),
    (nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 8)), (1, 9, 8)),
]


@pytest.mark.parametrize(("module", "shape"), CASES)
def test_rewritten(module: nn.Module, shape: tuple[int, ...]) -> None:
    rewritten, reports = rewrite(export(seeded(module), shape))
    after = ops(rewritten)
    layers = 2 if isinstance(module, nn.Sequential) else 1
    assert reports["linear-layer"].fired == layers and after["Gemm"] == layers
    assert not {"MatMul", "Add"} & set(after)
    x = noise(shape)
    # float32 sums of up to 16 products, twice.
    assert (
        relative_error(module.double()(torch.from_numpy(x).double()).detach().numpy(), run_onnx(rewritten, x)) <= 2e-6
    )


def test_large_weights_of_the_newer_exporter() -> None:
    """It transposes them in the graph, where 768 x 512 numbers are more than are computed of small constants."""
    module, shape = seeded(nn.Linear(768, 512)), (1, 3, 4, 768)
    stock = export_module(Exportable(module, {"x": shape}, ("y",), "linear"), Exporter.DYNAMO).model
    rewritten, reports = rewrite(stock)
    assert reports["linear-layer"].fired == 1 and not {"MatMul", "Add", "Transpose"} & ops(rewritten).keys()


def test_a_product_that_is_read_without_its_bias_keeps_the_sum() -> None:
    module, x = seeded(SumRead()), noise((1, 5, 8))
    rewritten, reports = rewrite(export(module, x.shape))
    assert reports["linear-layer"].fired == 1 and ops(rewritten)["Add"] == 1
    assert (
        relative_error(module.double()(torch.from_numpy(x).double()).detach().numpy(), run_onnx(rewritten, x)) <= 2e-6
    )


@pytest.mark.parametrize("module", [Product(left=True), Gram()])
def test_other_products_stay(module: nn.Module) -> None:
    stock = export(seeded(module), (1, 6, 6))
    rewritten, reports = rewrite(stock)
    assert reports["linear-layer"].fired == 0 and ops(rewritten)["MatMul"] == 1
