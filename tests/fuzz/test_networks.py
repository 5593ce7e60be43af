"""Small random networks: ``convert`` gives a file that computes what PyTorch computes, or refuses. Nothing else may
happen.

A handful in CI; ``make fuzz-networks`` runs an hour of them. EVIT_MOBILE_FUZZ_NETWORKS is their number.
"""

from __future__ import annotations

import copy
import os
import tempfile
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from converters.pipeline import convert_in_memory
from converters.source.load import module_source
from evit_mobile.errors import ClaimError, RequestError
from evit_mobile.runtimes import RUNTIMES
from evit_mobile.specs import Resolution

NETWORKS = int(os.environ.get("EVIT_MOBILE_FUZZ_NETWORKS", "2"))
#: Height and width of the images; 16 is also the number of channels, so that equal sizes come up.
SIZES = (16, 24, 32)
STEPS = (
    "conv", "depthwise", "strided", "max_pool", "avg_pool", "upsample", "nearest", "split", "concat", "relu_attention",
    "batch_norm", "layer_norm", "hard_swish", "gelu", "softmax", "transposed", "residual",
)  # fmt: skip


class Network(nn.Module):
    """``steps`` on 16 channels."""

    def __init__(self, steps: list[str], seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.steps = steps
        self.stem = nn.Conv2d(3, 16, 3, 1, 1)
        self.layers = nn.ModuleList(_layer(step) for step in steps)

    def forward(self, image: Tensor) -> Tensor:
        value = self.stem(image)
        for step, layer in zip(self.steps, self.layers):
            value = _apply(step, layer, value)
        return value


def _layer(step: str) -> nn.Module:
    layers = {
        "conv": lambda: nn.Conv2d(16, 16, 3, 1, 1),
        "depthwise": lambda: nn.Conv2d(16, 16, 5, 1, 2, groups=16),
        "strided": lambda: nn.Conv2d(16, 16, (3, 5), (1, 2), (1, 2)),
        "max_pool": lambda: nn.MaxPool2d(3, 1, 1),
        "avg_pool": lambda: nn.AvgPool2d(3, 1, 1, count_include_pad=False),
        "concat": lambda: nn.Conv2d(32, 16, 1),
        "relu_attention": lambda: nn.Conv2d(16, 48, 1),
        "batch_norm": lambda: nn.BatchNorm2d(16).eval(),
        "layer_norm": lambda: nn.LayerNorm(16),
        "transposed": lambda: nn.ConvTranspose2d(16, 16, 2, 2),
    }
    return layers.get(step, nn.Identity)()


def _apply(step: str, layer: nn.Module, value: Tensor) -> Tensor:
    batch, channels, height, width = value.shape
    if step == "upsample" or step == "nearest":
        return F.interpolate(value, scale_factor=2, mode="bilinear" if step == "upsample" else "nearest")
    if step == "split":
        first, second = value.split([6, 10], 1)
        return torch.cat([second, first * 2], 1)
    if step == "concat":
        return layer(torch.cat([value, value.abs()], 1))
    if step == "relu_attention":
        q, k, v = layer(value).reshape(batch, 3, 2, channels // 2, height * width).unbind(1)
        q, k = F.relu(q), F.relu(k)
        out = (v @ k.transpose(-1, -2)) @ q / (k.sum(-1, keepdim=True).transpose(-1, -2) @ q + 1e-6)
        return out.reshape(value.shape)
    if step == "layer_norm":
        return layer(value.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    functions = {
        "hard_swish": F.hardswish,
        "gelu": F.gelu,
        "softmax": lambda x: x.softmax(1),
        "residual": lambda x: x + F.relu(x),
    }
    return functions[step](value) if step in functions else layer(value)


@settings(
    max_examples=NETWORKS, deadline=None, derandomize=NETWORKS < 10, database=None,
    suppress_health_check=list(HealthCheck),
)  # fmt: skip
@given(
    st.lists(st.sampled_from(STEPS), min_size=1, max_size=6),
    st.sampled_from(SIZES),
    st.sampled_from(SIZES),
    st.integers(0, 99),
)
def test_right_or_refused(steps: list[str], height: int, width: int, seed: int) -> None:
    if steps.count("upsample") + steps.count("nearest") + steps.count("transposed") > 2:
        return  # images that grow without end take minutes and show nothing new
    module = Network(steps, seed).eval().requires_grad_(False)
    try:
        conversion = convert_in_memory(module_source(module, Resolution(height, width)))
    except (RequestError, ClaimError) as refusal:
        note(f"refused: {refusal}")
        return
    image = torch.from_numpy(np.random.default_rng(seed).uniform(-1, 1, (1, 3, height, width)).astype(np.float32))
    single, exact = module(image), copy.deepcopy(module).double()(image.double())
    with tempfile.TemporaryDirectory() as folder:
        path = conversion.save(Path(folder) / "model.tflite")
        with RUNTIMES["litert"].open(path) as session:
            (value,) = session.run([image.permute(0, 2, 3, 1).contiguous().numpy()])
    # 1e-4 is what verify allows a float32 file, eight times float32's own distance from float64 what it allows where
    # that is more.
    tolerance = max(1e-4 * float(exact.abs().max()), 8 * float((single.double() - exact).abs().max()))
    np.testing.assert_allclose(np.moveaxis(value, -1, 1), exact.numpy(), rtol=0, atol=tolerance)
