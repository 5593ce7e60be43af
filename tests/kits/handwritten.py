"""ReLU linear attention as people write it by hand: sixteen functions of q, k, v that compute one thing.

Every form takes the projection's output [1, 3 * HEADS * WIDTH, H, W] and gives [1, HEADS * WIDTH, H, W]. ``EPSILON``
guards the denominator, added or as a lower bound: the sums of these networks are far above it.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

HEADS, WIDTH, CHANNELS = 2, 8, 16
EPSILON = 1e-6
#: Of the image of ``HandWritten``; 16 tokens, as many as channels, so that a wrong transpose still fits.
SIZE = (4, 4)


def _heads(qkv: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """q, k, v [1, HEADS, WIDTH, N], the first two through ReLU."""
    q, k, v = qkv.reshape(1, 3, HEADS, WIDTH, -1).unbind(1)
    return F.relu(q), F.relu(k), v


def einsum_tokens_last(qkv: Tensor) -> Tensor:
    q, k, v = _heads(qkv)
    state = torch.einsum("bhcn,bhdn->bhcd", k, v)
    numerator = torch.einsum("bhcn,bhcd->bhdn", q, state)
    denominator = torch.einsum("bhcn,bhc->bhn", q, k.sum(-1))
    return (numerator / (denominator[:, :, None] + EPSILON)).reshape(1, HEADS * WIDTH, *qkv.shape[2:])


def einsum_tokens_first(qkv: Tensor) -> Tensor:
    """As the authors of linear transformers write it: [b, n, h, d], and the inverse of the denominator in an einsum."""
    q, k, v = (value.permute(0, 3, 1, 2) for value in _heads(qkv))
    state = torch.einsum("nshd,nshm->nhmd", k, v)
    inverse = 1 / (torch.einsum("nlhd,nhd->nlh", q, k.sum(1)) + EPSILON)
    out = torch.einsum("nlhd,nhmd,nlh->nlhm", q, state, inverse)
    return out.flatten(2).transpose(1, 2).reshape(1, HEADS * WIDTH, *qkv.shape[2:])


def value_key_query(qkv: Tensor) -> Tensor:
    q, k, v = _heads(qkv)
    out = (v @ k.transpose(-1, -2)) @ q / (k.sum(-1, keepdim=True).transpose(-1, -2) @ q + EPSILON)
    return out.reshape(1, HEADS * WIDTH, *qkv.shape[2:])


def query_key_value(qkv: Tensor) -> Tensor:
    q, k, v = (value.transpose(-1, -2) for value in _heads(qkv))
    out = q @ (k.transpose(-1, -2) @ v) / (q @ k.sum(-2, keepdim=True).transpose(-1, -2) + EPSILON)
    return out.transpose(-1, -2).reshape(1, HEADS * WIDTH, *qkv.shape[2:])


def padded_ones(qkv: Tensor) -> Tensor:
    """The authors' LiteMLA: a row of ones on v, whose product is the denominator; heads hold their q, k, v together."""
    q, k, v = qkv.reshape(1, HEADS, 3 * WIDTH, -1).chunk(3, dim=2)
    q, k, v = F.relu(q), F.relu(k), F.pad(v, (0, 0, 0, 1), mode="constant", value=1)
    out = (v @ k.transpose(-1, -2)) @ q
    return (out[:, :, :-1] / (out[:, :, -1:] + EPSILON)).reshape(1, HEADS * WIDTH, *qkv.shape[2:])


def ones_by_concatenation(qkv: Tensor) -> Tensor:
    q, k, v = (value.transpose(-1, -2) for value in _heads(qkv))
    v = torch.cat([v, torch.ones_like(v[..., :1])], dim=-1)
    out = q @ (k.transpose(-1, -2) @ v)
    out = out[..., :WIDTH] / (out[..., WIDTH:] + EPSILON)
    return out.transpose(-1, -2).reshape(1, HEADS * WIDTH, *qkv.shape[2:])


def explicit_sum(qkv: Tensor) -> Tensor:
    q, k, v = _heads(qkv)
    denominator = (q * k.sum(-1, keepdim=True)).sum(-2, keepdim=True)
    out = (v @ k.transpose(-1, -2)) @ q / denominator.clamp(min=EPSILON)
    return out.reshape(1, HEADS * WIDTH, *qkv.shape[2:])


def chunked(qkv: Tensor) -> Tensor:
    q, k, v = (part.reshape(1, HEADS, WIDTH, -1) for part in qkv.chunk(3, dim=1))
    q, k = torch.relu(q), torch.relu(k)
    out = torch.matmul(torch.matmul(v, k.transpose(2, 3)), q)
    return (out / (torch.matmul(k.sum(3).unsqueeze(2), q) + EPSILON)).flatten(1, 2).reshape(1, -1, *qkv.shape[2:])


def split_by_sizes(qkv: Tensor) -> Tensor:
    inner = HEADS * WIDTH
    q, k, v = torch.split(qkv.flatten(2), [inner, inner, inner], dim=1)
    q, k, v = (part.view(1, HEADS, WIDTH, -1) for part in (q.clamp(min=0), k.clamp(min=0), v))
    out = (v @ k.transpose(-1, -2)) @ q
    out = out * (k.sum(-1, keepdim=True).transpose(-1, -2) @ q + EPSILON).reciprocal()
    return out.reshape(1, inner, *qkv.shape[2:])


def batched_heads(qkv: Tensor) -> Tensor:
    """Heads in the batch axis, by torch.bmm."""
    q, k, v = (value.flatten(0, 1) for value in _heads(qkv))
    out = torch.bmm(torch.bmm(v, k.transpose(1, 2)), q)
    return (out / (torch.bmm(k.sum(2)[:, None], q) + EPSILON)).reshape(1, HEADS * WIDTH, *qkv.shape[2:])


def tokens_channels_last(qkv: Tensor) -> Tensor:
    """Tokens [1, N, 3 * HEADS * WIDTH], as transformers have them, and heads of a permuted reshape."""
    tokens = qkv.permute(0, 2, 3, 1).flatten(1, 2)
    q, k, v = tokens.reshape(1, -1, 3, HEADS, WIDTH).permute(2, 0, 3, 1, 4)
    q, k = F.relu(q), F.relu(k)
    out = q @ (k.transpose(-2, -1) @ v) / (q @ k.sum(dim=-2).unsqueeze(-1) + EPSILON)
    return out.transpose(1, 2).flatten(2).transpose(1, 2).reshape(1, HEADS * WIDTH, *qkv.shape[2:])


def means(qkv: Tensor) -> Tensor:
    q, k, v = _heads(qkv)
    tokens = q.shape[-1]
    state = (v @ k.transpose(-1, -2)) / tokens
    out = state @ q / (k.mean(-1, keepdim=True).transpose(-1, -2) @ q + EPSILON)
    return out.reshape(1, HEADS * WIDTH, *qkv.shape[2:])


def relu_before_split(qkv: Tensor) -> Tensor:
    """One ReLU over q and k together."""
    inner = HEADS * WIDTH
    qk, v = F.relu(qkv[:, : 2 * inner]), qkv[:, 2 * inner :]
    q, k, v = (value.reshape(1, HEADS, WIDTH, -1) for value in (qk[:, :inner], qk[:, inner:], v))
    out = (v @ k.transpose(-1, -2)) @ q / (k.sum(-1, keepdim=True).transpose(-1, -2) @ q + EPSILON)
    return out.reshape(1, inner, *qkv.shape[2:])


def inverse_unsqueezed(qkv: Tensor) -> Tensor:
    """The inverse of the guarded denominator, its axis added last."""
    q, k, v = (value.transpose(-1, -2) for value in _heads(qkv))
    inverse = 1 / ((q * k.sum(-2, keepdim=True)).sum(-1) + EPSILON)
    out = (q @ (k.transpose(-1, -2) @ v)) * inverse.unsqueeze(-1)
    return out.transpose(-1, -2).reshape(1, HEADS * WIDTH, *qkv.shape[2:])


def guarded_then_unsqueezed(qkv: Tensor) -> Tensor:
    q, k, v = _heads(qkv)
    denominator = torch.einsum("bhcn,bhc->bhn", q, k.sum(-1)).clamp(min=EPSILON)[:, :, None, :]
    return ((v @ k.transpose(-1, -2)) @ q / denominator).reshape(1, HEADS * WIDTH, *qkv.shape[2:])


def normalised_query(qkv: Tensor) -> Tensor:
    """The denominator divides q, before the product."""
    q, k, v = _heads(qkv)
    q = q / (k.sum(-1, keepdim=True).transpose(-1, -2) @ q + EPSILON)
    return ((v @ k.transpose(-1, -2)) @ q).reshape(1, HEADS * WIDTH, *qkv.shape[2:])


FORMS: tuple[Callable[[Tensor], Tensor], ...] = (
    einsum_tokens_last, einsum_tokens_first, value_key_query, query_key_value, padded_ones, ones_by_concatenation,
    explicit_sum, chunked, split_by_sizes, batched_heads, tokens_channels_last, means, relu_before_split,
    inverse_unsqueezed, guarded_then_unsqueezed, normalised_query,
)  # fmt: skip


class HandWritten(nn.Module):
    """[1, CHANNELS, H, W] -> projection, ``form``, projection."""

    def __init__(self, form: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.form = form
        self.qkv = nn.Conv2d(CHANNELS, 3 * HEADS * WIDTH, 1)
        self.proj = nn.Conv2d(HEADS * WIDTH, CHANNELS, 1)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.proj(self.form(self.qkv(x)))
        return y
