"""LayerNorm: expanded into delegated ops, scale and shift in the next weights, and digits kept where the mean is large.

Oracle: PyTorch's layer_norm in float64.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from evit_mobile.specs import Precision
from tests.kits.graphs import export, noise, ops, relative_error, rewrite, run_onnx, seeded

IMAGE = (1, 6, 4, 5)


class Norm(nn.Module):
    """LayerNorm over the channels of an image, then what reads it."""

    def __init__(self, *readers: nn.Module, channels: int = 6) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.readers = nn.ModuleList(readers)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return torch.cat([reader(y) for reader in self.readers], dim=1)


class Tokens(nn.Module):
    """LayerNorm of a vector before a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.linear = nn.LayerNorm(6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.linear(self.norm(x))
        return y


def expected(module: nn.Module, x: np.ndarray) -> np.ndarray:
    result: np.ndarray = module.double()(torch.from_numpy(x).double()).numpy()
    module.float()
    return result


def test_scale_and_shift_go_into_every_convolution() -> None:
    module = seeded(Norm(nn.Conv2d(6, 4, 1), nn.Conv2d(6, 3, 1, bias=False)))
    stock = export(module, IMAGE)
    rewritten, reports = rewrite(stock)
    assert ops(stock)["LayerNormalization"] == 1
    after = ops(rewritten)
    assert reports["layer-norm"].fired == 1 and not reports["layer-norm"].declined
    assert {op: after[op] for op in ("LayerNormalization", "ReduceMean", "Sub", "Mul", "Sqrt", "Conv")} == {
        "LayerNormalization": 0,
        "ReduceMean": 2,
        "Sub": 1,
        "Mul": 2,
        "Sqrt": 1,
        "Conv": 2,
    }
    x = noise(IMAGE)
    assert relative_error(expected(module, x), run_onnx(rewritten, x)) <= 2e-6


class SharedTokens(nn.Module):
    """LayerNorm before two linear layers, one of them without a bias, the other's product read without it too."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.linear = nn.LayerNorm(6), nn.Linear(6, 6, bias=False)
        self.weight, self.bias = nn.Parameter(torch.zeros(6, 3)), nn.Parameter(torch.zeros(3))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(x)
        product = y @ self.weight
        return torch.cat([self.linear(y), torch.relu(product + self.bias), torch.tanh(product)], dim=-1)


# A vector, tokens, as many tokens as channels, an image of tokens.
@pytest.mark.parametrize("shape", [(1, 6), (1, 5, 6), (1, 6, 6), (1, 3, 4, 6)])
@pytest.mark.parametrize("network", [Tokens, SharedTokens])
def test_linear_layers_take_them_too(network: type[nn.Module], shape: tuple[int, ...]) -> None:
    module = seeded(network())
    rewritten, reports = rewrite(export(module, shape))
    assert not reports["layer-norm"].declined and ops(rewritten)["Mul"] == 2
    x = noise(shape)
    assert relative_error(expected(module, x), run_onnx(rewritten, x)) <= 2e-6


@pytest.mark.parametrize(
    ("reader", "reason"),
    [
        (nn.Conv2d(6, 4, 3, padding=1), "pads"),
        (nn.Hardswish(), "HardSwish"),
        (nn.Conv2d(6, 6, 1, groups=6), "reads it"),
    ],
    ids=["padding", "activation", "depthwise"],
)
def test_scale_and_shift_stay_where_they_cannot_go(reader: nn.Module, reason: str) -> None:
    """One reader that cannot take them up keeps them for all."""
    module = seeded(Norm(nn.Conv2d(6, 4, 3, padding=1) if "pads" in reason else nn.Conv2d(6, 4, 3), reader).eval())
    if reason != "pads":
        module.readers = nn.ModuleList([reader])
    rewritten, reports = rewrite(export(module, IMAGE))
    (declined,) = reports["layer-norm"].declined
    assert reason in declined.reason
    assert ops(rewritten)["LayerNormalization"] == 0
    x = noise(IMAGE)
    assert relative_error(expected(module, x), run_onnx(rewritten, x)) <= 2e-6


def test_int8_keeps_the_scale_out_of_the_weights() -> None:
    _, reports = rewrite(export(seeded(Norm(nn.Conv2d(6, 4, 1))), IMAGE), precision=Precision.INT8)
    assert "int8" in reports["layer-norm"].declined[0].reason


@pytest.mark.parametrize("ratio", [1e2, 1e3, 1e4])
def test_mean_far_above_the_deviation(ratio: float) -> None:
    """The input itself is only known to ratio · 2⁻²⁴ of its deviation; E[x²] − μ² would be off by ratio² · 2⁻²⁴, all of
    it at 1e4.

    Compared with the float64 result of the same float32 input, the subtraction is exact to rounding: 8 ulp of the mean.
    """
    module = seeded(Norm(nn.Conv2d(6, 4, 1)))
    rewritten, _ = rewrite(export(module, IMAGE))
    x = (noise(IMAGE) + ratio).astype(np.float32)
    assert relative_error(expected(module, x), run_onnx(rewritten, x)) <= 8 * ratio * 2**-24


def test_no_normalisation() -> None:
    stock = export(seeded(nn.Conv2d(6, 4, 1)), IMAGE)
    rewritten, reports = rewrite(stock)
    assert reports["layer-norm"].fired == 0 and ops(rewritten) == ops(stock)


def test_functional_form_without_scale_and_shift() -> None:
    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(6, 4, 1)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.conv(F.layer_norm(x.permute(0, 2, 3, 1), (6,)).permute(0, 3, 1, 2))
            return y

    module = seeded(Plain())
    rewritten, _ = rewrite(export(module, IMAGE))
    x = noise(IMAGE)
    assert relative_error(expected(module, x), run_onnx(rewritten, x)) <= 2e-6
