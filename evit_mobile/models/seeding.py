"""Seeded weights for networks whose activations would otherwise grow without bound."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm
from torch.overrides import TorchFunctionMode

from evit_mobile.specs import Resolution


@torch.no_grad()
def settle_batch_norms(module: nn.Module, generator: Generator, resolution: Resolution, channels: int = 3) -> None:
    """Give every batch normalisation the statistics of its input while noise and a 4x4 board of colours pass through
    ``module``.

    The mean is shifted by about half a standard deviation and the variance by up to 30 %, so that nothing is neutral.
    Without this, 50 residual blocks would each double the variance, and with exact means, attention would average to
    nothing on these images and be blown up on others. The pass is in float64, so that other machines and thread counts
    give the same float32 weights. ``module`` is left in evaluation mode.
    """
    norms = [layer for layer in module.modules() if isinstance(layer, _BatchNorm) and layer.running_var is not None]
    module.eval()
    if not norms:
        return

    def measure(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(layer, _BatchNorm) and layer.running_mean is not None and layer.running_var is not None
        values = inputs[0].transpose(0, 1).flatten(1)
        # Mixed with the layer's overall variance: on a small map a channel's own may be near zero.
        variance = 0.5 * values.var(1, correction=0) + 0.5 * values.var(correction=0) + layer.eps
        spread = torch.empty_like(variance).uniform_(0.7, 1.3, generator=generator)
        layer.running_mean.copy_(
            values.mean(1) + 0.5 * variance.sqrt() * torch.randn(variance.shape, generator=generator)
        )
        layer.running_var.copy_(variance * spread)

    handles = [layer.register_forward_pre_hook(measure) for layer in norms]
    try:
        size = (resolution.height, resolution.width)
        noise = torch.randn(1, channels, *size, generator=generator, dtype=torch.float64)
        colours = 1.5 * torch.randn(1, channels, 4, 4, generator=generator, dtype=torch.float64)
        with _QuickDepthwise():
            module.double()(torch.cat([noise, F.interpolate(colours, size)]))
    finally:
        for handle in handles:
            handle.remove()
        module.float()


class _QuickDepthwise(TorchFunctionMode):
    """Depthwise convolutions as sums of shifted maps: in float64 PyTorch runs one convolution for each channel, twenty
    times slower.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is torch.conv2d and len(args) == 7 and not kwargs:
            x, weight, bias, stride, padding, dilation, groups = args
            numeric = not isinstance(padding, str)
            if numeric and groups == x.shape[1] == len(weight) > 1:
                return _depthwise(x, weight, bias, (stride, padding, dilation))
        return func(*args, **(kwargs or {}))


def _depthwise(x: Tensor, weight: Tensor, bias: Tensor | None, geometry: Sequence[Sequence[int]]) -> Tensor:
    """[B, C, H, W] by [C, 1, h, w]; ``geometry`` is stride, padding and dilation, each (vertical, horizontal)."""
    stride, padding, dilation = geometry
    padded = F.pad(x, (padding[1], padding[1], padding[0], padding[0]))
    height, width = (
        (padded.shape[2 + axis] - dilation[axis] * (weight.shape[2 + axis] - 1) - 1) // stride[axis] + 1
        for axis in (0, 1)
    )
    total = torch.zeros(*x.shape[:2], height, width, dtype=x.dtype)
    for row in range(weight.shape[2]):
        for column in range(weight.shape[3]):
            top, left = row * dilation[0], column * dilation[1]
            rows = slice(top, top + (height - 1) * stride[0] + 1, stride[0])
            columns = slice(left, left + (width - 1) * stride[1] + 1, stride[1])
            total.addcmul_(padded[:, :, rows, columns], weight[:, 0, row, column, None, None])
    return total if bias is None else total + bias[:, None, None]
