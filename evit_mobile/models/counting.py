"""Multiply-accumulates and parameters, counted on the module itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evit_mobile.specs import Resolution

if TYPE_CHECKING:
    from torch import nn


def count_parameters(module: nn.Module) -> int:
    """Number of trainable parameters."""
    return sum(parameter.numel() for parameter in module.parameters())


def count_macs(module: nn.Module, resolution: Resolution, channels: int = 3) -> int:
    """Multiply-accumulates of one [1, channels, H, W] inference: convolutions, linear layers and matrix products, by PyTorch's own counter.

    ``module`` is moved to the meta device: nothing is computed, and its weights are gone afterwards.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    module = module.to("meta").eval().requires_grad_(False)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        module(torch.empty(1, channels, resolution.height, resolution.width, device="meta"))
    # The counter takes a multiply-accumulate for two operations.
    return int(counter.get_total_flops()) // 2
