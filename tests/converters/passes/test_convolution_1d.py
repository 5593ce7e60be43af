"""Grouped convolutions of one axis. Oracle: ONNX Runtime on the graph before; the sums are the same."""

from __future__ import annotations

import numpy as np
import pytest
from torch import nn

from tests.kits.graphs import export, noise, ops, rewrite, run_onnx

SHAPE = (1, 8, 20)


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv1d(8, 12, 5, 2, 1, groups=4),
        nn.Conv1d(8, 8, 3, padding=2, dilation=2, groups=8, bias=False),
        nn.Conv1d(8, 16, 4, padding="same", groups=2),
    ],
)
def test_rewritten(layer: nn.Conv1d) -> None:
    model = export(layer, SHAPE)
    rewritten, reports = rewrite(model)
    assert reports["convolution-1d"].fired == 1 and ops(rewritten)["Conv"] == 1 and ops(rewritten)["Reshape"] == 2
    x = noise(SHAPE)
    np.testing.assert_allclose(run_onnx(rewritten, x), run_onnx(model, x), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("layer", "shape"), [(nn.Conv1d(8, 12, 5), SHAPE), (nn.Conv2d(8, 8, 3, groups=8), (1, 8, 6, 5))]
)
def test_others_stay(layer: nn.Module, shape: tuple[int, ...]) -> None:
    assert rewrite(export(layer, shape))[1]["convolution-1d"].fired == 0
