"""EfficientViT as arXiv 2205.14756 v1 describes it: blocks, backbone, classifier. Read it beside section 3.

The blocks of the ablation study (section 4.5) stand here too: attention by softmax, and the *vanilla* FFN without its
convolution.

All feature maps are NCHW. What the paper leaves open, and what was chosen here:

* *Depths.* A stage is one downsampling MBConv and then L blocks; this reading gives the paper's MACs, while counting
  the MBConv among the L gives 9 % too few.
* *Normalisation* (section 4.1). The attention and FFN blocks of stages 3 and 4 use layer normalisation, before the
  block as in [6]. The MBConv that opens each stage keeps batch normalisation, as the convolutional part of [6] does.
* *Classification head* ("lightweight head, same as MobileNetV3"): a 1x1 convolution, pooling, two linear layers. The
  widths are not stated; (960, 2765), scaled with the width multiplier, meet the paper's parameters and MACs best.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from evit_mobile.specs import Resolution


@dataclass(frozen=True)
class EfficientViTConfig:
    """Hyper-parameters, named as in sections 3.2.3 and 4.1: C0, (C1..C4), (L1..L4), heads in stages 3 and 4.

    ``ffn_convolution`` is the depthwise convolution in the FFN: what makes the attention *enhanced* in the paper's
    words.
    """

    stem_width: int = 16
    stage_widths: tuple[int, int, int, int] = (24, 48, 96, 192)
    stage_depths: tuple[int, int, int, int] = (2, 3, 5, 2)
    heads: tuple[int, int] = (12, 24)
    head_dim: int = 16
    attention: Literal["linear", "softmax"] = "linear"
    ffn_convolution: bool = True
    expand_ratio: int = 4
    kernel_size: int = 5
    head_widths: tuple[int, int] = (960, 2765)
    classes: int = 1000


def base_config(width_multiplier: float = 1.0) -> EfficientViTConfig:
    """EfficientViT-Base (section 4.1); its widths times ``width_multiplier``, rounded to multiples of 8 as in
    MobileNetV2.
    """
    base = EfficientViTConfig()
    c1, c2, c3, c4 = (_round_to_8(width * width_multiplier) for width in base.stage_widths)
    return EfficientViTConfig(
        stem_width=_round_to_8(base.stem_width * width_multiplier),
        stage_widths=(c1, c2, c3, c4),
        heads=(round(base.heads[0] * width_multiplier), round(base.heads[1] * width_multiplier)),
        head_widths=(int(base.head_widths[0] * width_multiplier), int(base.head_widths[1] * width_multiplier)),
    )


#: Key dimension of softmax attention in the ablation (section 4.5).
SOFTMAX_HEAD_DIM = 8


def softmax_twin(config: EfficientViTConfig, resolution: Resolution) -> EfficientViTConfig:
    """``config`` with softmax attention of key dimension 8, and with as many heads as give the linear layers' MACs at
    ``resolution``.
    """
    heads = []
    for stage in (2, 3):
        tokens = (resolution.height >> (stage + 2)) * (resolution.width >> (stage + 2))
        width = config.stage_widths[stage]
        target = attention_macs("linear", tokens, width, config.heads[stage - 2], config.head_dim)
        heads.append(matching_heads(target, "softmax", tokens, width, SOFTMAX_HEAD_DIM))
    return replace(config, attention="softmax", head_dim=SOFTMAX_HEAD_DIM, heads=(heads[0], heads[1]))


def _round_to_8(width: float) -> int:
    """Nearest multiple of 8, but never more than 10 % below ``width`` (the rule of the MobileNet family)."""
    rounded = max(8, int(width + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * width else rounded


class LayerNorm2d(nn.LayerNorm):
    """Layer normalisation over the channels of an NCHW map: every position on its own."""

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C, H, W]."""
        x = F.layer_norm(x.permute(0, 2, 3, 1), self.normalized_shape, self.weight, self.bias, self.eps)
        return x.permute(0, 3, 1, 2)


class ConvBatchNorm(nn.Sequential):
    """Convolution, batch normalisation and, unless ``act`` is false, hard-swish [48]."""

    def __init__(
        self, inputs: int, outputs: int, kernel_size: int, *, stride: int = 1, groups: int = 1, act: bool = True
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel_size, stride, kernel_size // 2, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(outputs)
        if act:
            self.act = nn.Hardswish()


class DepthwiseSeparable(nn.Module):
    """The stem's residual block: 3x3 depthwise, then 1x1."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.depthwise = ConvBatchNorm(width, width, 3, groups=width)
        self.project = ConvBatchNorm(width, width, 1, act=False)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C, H, W]."""
        y: Tensor = x + self.project(self.depthwise(x))
        return y


class MBConv(nn.Module):
    """Inverted residual [22]: 1x1 expansion, depthwise, 1x1 projection.

    With stride 2 the identity becomes the paper's downsampling shortcut (section 3.2.2): average pooling and a 1x1
    convolution.
    """

    def __init__(self, inputs: int, outputs: int, *, stride: int, expand_ratio: int, kernel_size: int) -> None:
        super().__init__()
        hidden = inputs * expand_ratio
        self.expand = ConvBatchNorm(inputs, hidden, 1)
        self.depthwise = ConvBatchNorm(hidden, hidden, kernel_size, stride=stride, groups=hidden)
        self.project = ConvBatchNorm(hidden, outputs, 1, act=False)
        self.shortcut: nn.Module = nn.Identity()
        if stride == 2:
            self.shortcut = nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(inputs, outputs, 1))

    def forward(self, x: Tensor) -> Tensor:
        """[B, Cin, H, W] -> [B, Cout, H / stride, W / stride]."""
        y: Tensor = self.shortcut(x) + self.project(self.depthwise(self.expand(x)))
        return y


class ReluLinearAttention(nn.Module):
    """Global attention in linear time: equation (4) with the ReLU kernel, and its residual.

    With q and k after the ReLU, token i gets  q_i (sum_j k_j^T v_j) / (q_i sum_j k_j^T + eps).  ``eps`` keeps a token
    whose q is zero at zero instead of 0/0.
    """

    def __init__(self, width: int, heads: int, head_dim: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.heads, self.head_dim, self.eps = heads, head_dim, eps
        self.norm = LayerNorm2d(width)
        self.qkv = nn.Conv2d(width, 3 * heads * head_dim, 1)
        self.proj = nn.Conv2d(heads * head_dim, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C, H, W]; inside, q, k and v are [B, heads, head_dim, N] with N = H * W tokens."""
        batch, _, height, width = x.shape
        qkv = self.qkv(self.norm(x)).reshape(batch, 3, self.heads, self.head_dim, height * width)
        q, k, v = F.relu(qkv[:, 0]), F.relu(qkv[:, 1]), qkv[:, 2]
        numerator = (v @ k.transpose(-1, -2)) @ q
        denominator = k.sum(-1, keepdim=True).transpose(-1, -2) @ q
        out = numerator / (denominator + self.eps)
        y: Tensor = x + self.proj(out.reshape(batch, self.heads * self.head_dim, height, width))
        return y


class SoftmaxAttention(nn.Module):
    """Global attention in quadratic time: equation (1) with Sim = exp(q k^T / sqrt(d)), and its residual; the twin of
    the linear one.

    q, k and v are taken channels last, which is how TFLite keeps maps: each is then one transpose away from [B, heads,
    N, head_dim].
    """

    def __init__(self, width: int, heads: int, head_dim: int) -> None:
        super().__init__()
        self.heads, self.head_dim = heads, head_dim
        self.norm = LayerNorm2d(width)
        self.qkv = nn.Conv2d(width, 3 * heads * head_dim, 1)
        self.proj = nn.Conv2d(heads * head_dim, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C, H, W]; inside, q, k and v are [B, heads, N, head_dim] with N = H * W tokens."""
        batch, _, height, width = x.shape

        def tokens(part: Tensor) -> Tensor:
            return part.permute(0, 2, 3, 1).reshape(batch, height * width, self.heads, self.head_dim).transpose(1, 2)

        q, k, v = (tokens(part) for part in self.qkv(self.norm(x)).chunk(3, dim=1))
        weights = F.softmax((q * self.head_dim**-0.5) @ k.transpose(-1, -2), dim=-1)
        out = (weights @ v).transpose(1, 2).reshape(batch, height, width, self.heads * self.head_dim)
        y: Tensor = x + self.proj(out.permute(0, 3, 1, 2))
        return y


def attention_macs(kind: Literal["linear", "softmax"], tokens: int, width: int, heads: int, head_dim: int) -> int:
    """Multiply-accumulates of one attention layer: four projections, and its matrix products.

    Per token and head these are two products with a d x d matrix and one with the sum of k, or two with all N tokens.
    """
    core = 2 * head_dim**2 + head_dim if kind == "linear" else 2 * tokens * head_dim
    return tokens * heads * (4 * width * head_dim + core)


def matching_heads(target_macs: int, kind: Literal["linear", "softmax"], tokens: int, width: int, head_dim: int) -> int:
    """The number of heads (at least one) with which a layer of this kind comes nearest to ``target_macs``."""
    return max(1, round(target_macs / attention_macs(kind, tokens, width, 1, head_dim)))


class ConvFeedForward(nn.Module):
    """FFN with a depthwise convolution in its middle (section 3.2.1): the local part that linear attention lacks; and
    its residual.
    """

    def __init__(self, width: int, expand_ratio: int, kernel_size: int) -> None:
        super().__init__()
        hidden = width * expand_ratio
        self.norm = LayerNorm2d(width)
        self.expand = nn.Conv2d(width, hidden, 1)
        self.depthwise = nn.Conv2d(hidden, hidden, kernel_size, padding=kernel_size // 2, groups=hidden)
        self.project = nn.Conv2d(hidden, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C, H, W]."""
        y = F.hardswish(self.expand(self.norm(x)))
        y = F.hardswish(self.depthwise(y))
        out: Tensor = x + self.project(y)
        return out


class FeedForward(nn.Module):
    """FFN without the convolution, as vanilla attention has it (section 4.5); and its residual."""

    def __init__(self, width: int, expand_ratio: int) -> None:
        super().__init__()
        self.norm = LayerNorm2d(width)
        self.expand = nn.Conv2d(width, width * expand_ratio, 1)
        self.project = nn.Conv2d(width * expand_ratio, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C, H, W]."""
        y = F.hardswish(self.expand(self.norm(x)))
        out: Tensor = x + self.project(y)
        return out


class EfficientViTBackbone(nn.Module):
    """Stem and four stages (figure 3); stages 3 and 4 are pairs of attention and FFN."""

    def __init__(self, config: EfficientViTConfig) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            ConvBatchNorm(3, config.stem_width, 3, stride=2), DepthwiseSeparable(config.stem_width)
        )
        widths = (config.stem_width, *config.stage_widths)
        self.stages = nn.ModuleList(_stage(config, stage, widths[stage], widths[stage + 1]) for stage in range(4))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[B, 3, H, W] -> (P2, P3, P4): [B, C2, H/8, W/8], [B, C3, H/16, W/16], [B, C4, H/32, W/32]."""
        x = self.stem(x)
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps[1], maps[2], maps[3]


def _stage(config: EfficientViTConfig, stage: int, inputs: int, outputs: int) -> nn.Sequential:
    """Stage ``stage`` (0 is the paper's 1): a downsampling MBConv, then L blocks."""

    def mbconv(inputs: int, stride: int) -> MBConv:
        return MBConv(inputs, outputs, stride=stride, expand_ratio=config.expand_ratio, kernel_size=config.kernel_size)

    blocks: list[nn.Module] = [mbconv(inputs, 2)]
    for _ in range(config.stage_depths[stage]):
        if stage < 2:
            blocks.append(mbconv(outputs, 1))
        else:
            blocks.append(attention_layer(config.attention, outputs, config.heads[stage - 2], config.head_dim))
            blocks.append(_feed_forward(config, outputs))
    return nn.Sequential(*blocks)


def attention_layer(kind: Literal["linear", "softmax"], width: int, heads: int, head_dim: int) -> nn.Module:
    """An attention layer of either kind, [B, C, H, W] -> [B, C, H, W]."""
    layer = ReluLinearAttention if kind == "linear" else SoftmaxAttention
    return layer(width, heads, head_dim)


def _feed_forward(config: EfficientViTConfig, width: int) -> nn.Module:
    if config.ffn_convolution:
        return ConvFeedForward(width, config.expand_ratio, config.kernel_size)
    return FeedForward(width, config.expand_ratio)


class ClassificationHead(nn.Module):
    """MobileNetV3's head [48]: 1x1 convolution, global average, two linear layers."""

    def __init__(self, inputs: int, widths: tuple[int, int], classes: int) -> None:
        super().__init__()
        self.conv = ConvBatchNorm(inputs, widths[0], 1)
        self.hidden = nn.Linear(widths[0], widths[1])
        self.classify = nn.Linear(widths[1], classes)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C4, H/32, W/32] -> [B, classes]."""
        x = F.adaptive_avg_pool2d(self.conv(x), 1).flatten(1)
        y: Tensor = self.classify(F.hardswish(self.hidden(x)))
        return y


class EfficientViTClassifier(nn.Module):
    """Backbone and classification head."""

    def __init__(self, config: EfficientViTConfig) -> None:
        super().__init__()
        self.backbone = EfficientViTBackbone(config)
        self.head = ClassificationHead(config.stage_widths[3], config.head_widths, config.classes)

    def forward(self, image: Tensor) -> Tensor:
        """[B, 3, H, W], normalised RGB, H and W divisible by 32 -> logits [B, classes]."""
        logits: Tensor = self.head(self.backbone(image)[2])
        return logits


@torch.no_grad()
def initialise(module: nn.Module, seed: int) -> None:
    """Fill every parameter and every normalisation statistic of ``module`` from ``seed``.

    Variances are kept from layer to layer (He initialisation), and scales, shifts, means and variances of the
    normalisations are away from 1 and 0: with neutral ones a conversion that folded them wrongly would look right.
    """
    generator = torch.Generator().manual_seed(seed)
    for layer in module.modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            fan_in = layer.weight[0].numel()
            layer.weight.normal_(0, (2 / fan_in) ** 0.5, generator=generator)
            if layer.bias is not None:
                layer.bias.normal_(0, 0.1, generator=generator)
        elif isinstance(layer, (nn.BatchNorm2d, nn.LayerNorm)) and layer.weight is not None:
            layer.weight.uniform_(0.7, 1.3, generator=generator)
            if layer.bias is not None:
                layer.bias.normal_(0, 0.1, generator=generator)
            if isinstance(layer, nn.BatchNorm2d) and layer.running_mean is not None and layer.running_var is not None:
                layer.running_mean.normal_(0, 0.1, generator=generator)
                layer.running_var.uniform_(0.7, 1.3, generator=generator)
