"""Seeded weights for networks whose activations would otherwise grow without bound."""

from __future__ import annotations

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from evit_mobile.specs import Resolution


@torch.no_grad()
def settle_batch_norms(module: nn.Module, generator: Generator, resolution: Resolution, channels: int = 3) -> None:
    """Give every batch normalisation the statistics of what it sees when noise and a 4x4 board of colours pass through ``module``.

    Its mean is off by about half a standard deviation and its variance by up to 30 %, so that nothing is neutral. Without this, 50
    residual blocks would each double the variance, and with exact means, attention would average to nothing on these images and be
    blown up on others. The pass is in float64, so that other machines and thread counts give the same float32 weights. ``module``
    is left in evaluation mode.
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
        module.double()(torch.cat([noise, F.interpolate(colours, size)]))
    finally:
        for handle in handles:
            handle.remove()
        module.float()
