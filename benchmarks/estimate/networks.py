"""Widths of MobileNetV3-Large that were measured and that timm has no name for."""

from __future__ import annotations

from torch import nn


def _mobilenetv3_large(width: float) -> nn.Module:
    from timm.models.mobilenetv3 import _gen_mobilenet_v3

    network: nn.Module = _gen_mobilenet_v3("mobilenetv3_large_100", width)
    return network


def mobilenetv3_large_x1_25() -> nn.Module:
    """A quarter wider."""
    return _mobilenetv3_large(1.25)


def mobilenetv3_large_x0_5() -> nn.Module:
    """Half as wide."""
    return _mobilenetv3_large(0.5)


def mobilenetv3_large_x0_35() -> nn.Module:
    """About a third as wide."""
    return _mobilenetv3_large(0.35)
