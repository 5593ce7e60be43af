"""Average pools pad by an op of its own. Oracle: ONNX Runtime on the graph before; 1e-6: two roundings more."""

from __future__ import annotations

import pytest
from torch import Tensor, nn

from tests.kits.graphs import export, noise, ops, relative_error, rewrite, run_onnx

SHAPE = (1, 3, 8, 11)


class Pool(nn.Module):
    """The negative of an average pool."""

    def __init__(self, pool: nn.Module) -> None:
        super().__init__()
        self.pool = pool

    def forward(self, x: Tensor) -> Tensor:
        return -self.pool(x)


@pytest.mark.parametrize("included", [True, False])
@pytest.mark.parametrize("ceil", [True, False])
@pytest.mark.parametrize("window", [((3, 3), (2, 2), (1, 1)), ((3, 5), (2, 1), (1, 2)), ((1, 4), (1, 3), (0, 2))])
def test_rewritten(window: tuple[tuple[int, int], ...], ceil: bool, included: bool) -> None:
    kernel, stride, padding = window
    module = Pool(nn.AvgPool2d(kernel, stride, padding, ceil, included))
    stock = export(module, SHAPE)
    rewritten, reports = rewrite(stock)
    assert reports["padded-average-pool"].fired == 1 and ops(rewritten)["Pad"] == 1
    assert ops(rewritten)["AveragePool"] == 1
    assert relative_error(run_onnx(stock, noise(SHAPE)), run_onnx(rewritten, noise(SHAPE))) <= 1e-6


def test_what_counts_all_places_needs_no_factor() -> None:
    rewritten, _ = rewrite(export(Pool(nn.AvgPool2d(3, 2, 1)), SHAPE))
    assert dict(ops(rewritten)) == {"Pad": 1, "AveragePool": 1, "Neg": 1}


def test_without_padding_it_stays() -> None:
    rewritten, reports = rewrite(export(Pool(nn.AvgPool2d(3, 2)), SHAPE))
    assert reports["padded-average-pool"].fired == 0 and dict(ops(rewritten)) == {"AveragePool": 1, "Neg": 1}
