"""q, k, v of an attention that stays: three convolutions instead of gathers and slices. Oracle: PyTorch in float64."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from tests.converters.passes.attention_graphs import export, noise, ops, relative_error, rewrite, run_onnx, seeded

IMAGE = (1, 8, 5, 6)


class SoftmaxAttention(nn.Module):
    """Softmax attention over 2 heads of 4, with q, k, v taken from one projection in the way ``split`` says."""

    def __init__(self, split: str) -> None:
        super().__init__()
        self.split = split
        self.qkv, self.proj = nn.Conv2d(8, 24, 1), nn.Conv2d(8, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.qkv(x)
        if self.split == "index":
            y = y.reshape(1, 3, 2, 4, 30)
            q, k, v = y[:, 0], y[:, 1], y[:, 2]
        elif self.split == "chunk":
            q, k, v = (part.reshape(1, 2, 4, 30) for part in y.chunk(3, dim=1))
        else:
            y = y.reshape(1, 2, 12, 30)
            q, k, v = y[:, :, :4], y[:, :, 4:8], y[:, :, 8:]
        weights = torch.softmax(q.transpose(-1, -2) @ k * 0.5, dim=-1)
        out: Tensor = self.proj((v @ weights.transpose(-1, -2)).reshape(1, 8, 5, 6))
        return out


@pytest.mark.parametrize("split", ["index", "chunk", "slice"])
def test_softmax_attention_gets_three_projections(split: str) -> None:
    module = seeded(SoftmaxAttention(split))
    rewritten, reports = rewrite(export(module, IMAGE))
    after = ops(rewritten)
    assert reports["linear-attention"].fired == 0 and reports["split-projections"].fired == 3
    assert after["Conv"] == 4 and not {"Gather", "Slice", "Split"} & set(after)
    x = noise(IMAGE)
    want = module.double()(torch.from_numpy(x).double()).numpy()
    assert relative_error(want, run_onnx(rewritten, x)) <= 2e-6


class Windows(nn.Module):
    """A slice of the image, and one of tokens: neither is a choice of channels."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(8, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        return y[:, :, :2].flatten(1) + y.flatten(2)[..., :12].flatten(1)


class AlsoWhole(nn.Module):
    """A part of a projection beside the whole of it: a convolution of its own would be computed twice."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(8, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        return torch.cat([torch.relu(y[:, :2]), y], dim=1)


def test_a_projection_that_is_read_whole_stays() -> None:
    stock = export(seeded(AlsoWhole()), IMAGE)
    rewritten, reports = rewrite(stock)
    assert "whole" in reports["split-projections"].declined[0].reason
    assert ops(rewritten) == ops(stock)


def test_other_slices_stay() -> None:
    stock = export(seeded(Windows()), IMAGE)
    rewritten, reports = rewrite(stock)
    assert reports["split-projections"].fired == 0 and ops(rewritten)["Slice"] == 2
