"""One attention layer as a model: what figure 2 (left) measures.

The input is not an image but a map [1, 96, H, W] of H * W tokens, as stage 3 of EfficientViT-Base has them; at 14x14
the two models have the same MACs. Their heads stay as they are at any resolution, so that latency grows with tokens
alone. ``attention-linear+matched`` follows the figure instead: it has as many heads as give it the MACs of
``attention-softmax`` at the resolution that it is built for; within 5 % from 12x12 tokens on, below which a single head
is more than that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from evit_mobile.models.registry import register_model
from evit_mobile.specs import Resolution

if TYPE_CHECKING:
    from torch import nn

WIDTH = 96
LINEAR_HEADS, LINEAR_HEAD_DIM = 12, 16
SOFTMAX_HEADS, SOFTMAX_HEAD_DIM = 13, 8
MATCHED = "matched"


@register_model(
    "attention-linear",
    task="attention",
    resolution=14,
    outputs=("tokens",),
    variants={MATCHED: None},
    divisor=1,
    channels=WIDTH,
)
def attention_linear(resolution: Resolution, variants: frozenset[str]) -> nn.Module:
    """ReLU linear attention, 12 heads of 16."""
    from evit_mobile.models.efficientvit import attention_macs, matching_heads

    heads = LINEAR_HEADS
    if MATCHED in variants:
        tokens = resolution.height * resolution.width
        target = attention_macs("softmax", tokens, WIDTH, SOFTMAX_HEADS, SOFTMAX_HEAD_DIM)
        heads = matching_heads(target, "linear", tokens, WIDTH, LINEAR_HEAD_DIM)
    return _layer("linear", heads, LINEAR_HEAD_DIM)


@register_model("attention-softmax", task="attention", resolution=14, outputs=("tokens",), divisor=1, channels=WIDTH)
def attention_softmax(resolution: Resolution, variants: frozenset[str]) -> nn.Module:
    """Softmax attention, 13 heads of 8."""
    return _layer("softmax", SOFTMAX_HEADS, SOFTMAX_HEAD_DIM)


def _layer(kind: str, heads: int, head_dim: int) -> nn.Module:
    from torch import Tensor, nn

    from evit_mobile.models.efficientvit import attention_layer

    class OneLayer(nn.Module):
        """[1, C, H, W] -> [1, H, W, C]: the map comes out in TFLite's layout."""

        def __init__(self) -> None:
            super().__init__()
            self.attention = attention_layer("linear" if kind == "linear" else "softmax", WIDTH, heads, head_dim)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.attention(x)
            return y.permute(0, 2, 3, 1)

    return OneLayer()
