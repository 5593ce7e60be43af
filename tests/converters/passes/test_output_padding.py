"""Output padding beyond the kernel becomes a longer kernel. Oracle: PyTorch."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.kits.graphs import export, noise, ops, relative_error, rewrite, run_onnx, seeded

SHAPE = (1, 4, 5, 6)


@pytest.mark.parametrize(
    "layer",
    [
        nn.ConvTranspose2d(4, 6, (3, 5), (2, 3), (0, 2), output_padding=(1, 2)),
        nn.ConvTranspose2d(4, 6, 2, 2, 0, output_padding=1, bias=False),
        nn.ConvTranspose2d(4, 4, 3, 3, (1, 0), output_padding=(2, 1), groups=2),
        nn.ConvTranspose2d(4, 6, 2, 4, 0, output_padding=3, dilation=2),
    ],
)
def test_rewritten(layer: nn.Module) -> None:
    module = seeded(layer)
    rewritten, reports = rewrite(export(module, SHAPE))
    assert reports["output-padding"].fired == 1
    assert dict(ops(rewritten)) == {"ConvTranspose": 1}
    (node,) = rewritten.graph.node
    assert "output_padding" not in {attribute.name for attribute in node.attribute}
    x = noise(SHAPE)
    # 1e-5: float32 sums of at most 60 products in another order.
    assert relative_error(module(torch.from_numpy(x)).numpy(), run_onnx(rewritten, x)) < 1e-5


def test_padding_within_the_kernel_stays() -> None:
    _, reports = rewrite(export(seeded(nn.ConvTranspose2d(4, 6, 3, 2, 1, output_padding=1)), SHAPE))
    assert reports["output-padding"].fired == 0 and not reports["output-padding"].declined
