"""Clamps to [0, 1]: rewritten to the clamp to [0, 6], other clamps left as they are. Oracle: PyTorch in float64."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from tests.kits.graphs import export, noise, ops, rewrite, run_onnx

SHAPE = (1, 3, 4, 5)


class Clamp(nn.Module):
    def __init__(self, low: float, high: float) -> None:
        super().__init__()
        self.low, self.high = low, high

    def forward(self, x: Tensor) -> Tensor:
        return torch.clamp(0.2 * x + 0.5, self.low, self.high)


@pytest.mark.parametrize(
    ("module", "added"), [(nn.Hardsigmoid(), {"Add": 1, "Mul": 1}), (Clamp(0, 1), {"Add": 1, "Mul": 3})]
)
def test_rewritten(module: nn.Module, added: dict[str, int]) -> None:
    rewritten, reports = rewrite(export(module, SHAPE))
    assert reports["hard-sigmoid"].fired == 1
    after = ops(rewritten)
    assert after["HardSigmoid"] == 0 and after["Clip"] == 1
    assert {op: after[op] for op in added} == added
    x = 3 * noise(SHAPE)
    want = module(torch.from_numpy(x).double()).numpy()
    # Three roundings of numbers up to 6, divided by 6.
    assert abs(run_onnx(rewritten, x) - want).max() <= 3 * 2**-24


@pytest.mark.parametrize("module", [nn.ReLU6(), Clamp(0, 2), Clamp(-1, 1), nn.ReLU()])
def test_other_clamps_stay(module: nn.Module) -> None:
    stock = export(module, SHAPE)
    rewritten, reports = rewrite(stock)
    assert reports["hard-sigmoid"].fired == 0 and ops(rewritten) == ops(stock)


@pytest.mark.parametrize("spelled", [nn.Hardswish(), lambda x: x * nn.functional.relu6(x + 3) / 6])
def test_hard_swish_is_one_node(spelled: nn.Module) -> None:
    class Activation(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = spelled(x)
            return y

    rewritten, _ = rewrite(export(Activation(), SHAPE))
    assert ops(rewritten) == {"HardSwish": 1}
