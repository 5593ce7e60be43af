"""q, k, v of an attention that stays: three projections instead of gathers and slices. Oracle: PyTorch in float64."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from tests.kits.graphs import export, noise, ops, relative_error, rewrite, run_onnx, seeded

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


class TokenAttention(nn.Module):
    """The same over tokens [1, N, C], as vision transformers write it: one linear layer for q, k, v."""

    def __init__(self, split: str, heads: int, bias: bool) -> None:
        super().__init__()
        self.split, self.heads = split, heads
        self.qkv, self.proj = nn.Linear(8, 24, bias=bias), nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        tokens, y = x.shape[1], self.qkv(x)
        if self.split == "unbind":
            q, k, v = y.reshape(1, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        elif self.split == "chunk":
            q, k, v = (part.reshape(1, tokens, self.heads, -1).transpose(1, 2) for part in y.chunk(3, dim=-1))
        else:  # q, k and v of one head side by side
            q, k, v = y.reshape(1, tokens, self.heads, 3, -1).permute(3, 0, 2, 1, 4).unbind(0)
        weights = torch.softmax(q @ k.transpose(-1, -2) * 0.5, dim=-1)
        out: Tensor = self.proj((weights @ v).transpose(1, 2).reshape(1, tokens, 8))
        return out


# Tokens as many as a head's channels, as heads, as all channels; one token; one head.
@pytest.mark.parametrize(("tokens", "heads"), [(7, 2), (4, 2), (2, 2), (8, 2), (24, 1), (1, 4), (5, 1)])
@pytest.mark.parametrize("split", ["unbind", "chunk", "heads first"])
@pytest.mark.parametrize("bias", [True, False])
def test_attention_over_tokens_gets_three_projections(split: str, tokens: int, heads: int, bias: bool) -> None:
    module, shape = seeded(TokenAttention(split, heads, bias)), (1, tokens, 8)
    rewritten, reports = rewrite(export(module, shape))
    after = ops(rewritten)
    assert reports["linear-attention"].fired == 0 and reports["split-projections"].fired >= 1
    assert after["Gemm"] == 4 and after["MatMul"] == 2 and not {"Gather", "Slice", "Split", "Add"} & set(after)
    x = noise(shape)
    want = module.double()(torch.from_numpy(x).double()).detach().numpy()
    assert relative_error(want, run_onnx(rewritten, x)) <= 2e-6


class SomeTokens(nn.Module):
    """A linear layer of which some tokens are read, or its channels of some tokens."""

    def __init__(self, channels: bool) -> None:
        super().__init__()
        self.channels, self.linear = channels, nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        y = self.linear(x)
        return torch.relu(y[:, 1:4, :4] if self.channels else y[:, 1:4])


@pytest.mark.parametrize("channels", [True, False])
def test_some_tokens_of_a_linear_layer_stay(channels: bool) -> None:
    module, shape = seeded(SomeTokens(channels)), (1, 6, 8)
    rewritten, reports = rewrite(export(module, shape))
    assert reports["split-projections"].fired == 0 and ops(rewritten)["Slice"] >= 1
    x = noise(shape)
    assert (
        relative_error(module.double()(torch.from_numpy(x).double()).detach().numpy(), run_onnx(rewritten, x)) <= 2e-6
    )


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
