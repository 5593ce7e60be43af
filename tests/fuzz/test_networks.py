"""Small random networks: ``convert`` gives a file that computes what PyTorch computes, or refuses. Nothing else may
happen.

A handful in CI; ``make fuzz-networks`` runs an hour of them. EVIT_MOBILE_FUZZ_NETWORKS is their number. How many were
converted, and how many refused, is printed after every tenth.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from benchmarks.forked import forked_lowering
from converters.parity.layout import arrays_for, from_file
from converters.parity.rounding import run_in_double, run_module
from converters.pipeline import convert_in_memory
from converters.source.inputs import InputRequest
from converters.source.load import module_source
from evit_mobile.errors import ClaimError, RequestError
from evit_mobile.runtimes import RUNTIMES
from evit_mobile.specs import OutputLayout
from evit_mobile.tflite.file import Tflite

NETWORKS = int(os.environ.get("EVIT_MOBILE_FUZZ_NETWORKS", "2"))
#: Outcomes so far.
TRIED: Counter[str] = Counter()
#: Height and width of the images; 16 is also the number of channels, so that equal sizes come up.
SIZES = (16, 24, 32)
STEPS = (
    "conv", "depthwise", "strided", "max_pool", "avg_pool", "upsample", "nearest", "split", "concat", "relu_attention",
    "batch_norm", "layer_norm", "hard_swish", "gelu", "softmax", "transposed", "residual", "uneven_split",
    "softmax_attention", "conv_1d", "transposed_odd", "align_corners", "to_size", "group_norm", "squeeze_excite",
)  # fmt: skip
GROWING = ("upsample", "nearest", "transposed", "transposed_odd", "align_corners")


class Network(nn.Module):
    """``steps`` on 16 channels; ``outputs`` also gives tokens and means, and a second input shifts the channels."""

    def __init__(self, steps: list[str], seed: int, outputs: bool = False) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.outputs, self.shift = outputs, nn.Linear(5, 16)
        self.steps = steps
        self.stem = nn.Conv2d(3, 16, 3, 1, 1)
        self.layers = nn.ModuleList(_layer(step) for step in steps)

    def forward(self, image: Tensor, vector: Tensor | None = None) -> Tensor | tuple[Tensor, ...]:
        value = self.stem(image)
        if vector is not None:
            value = value + self.shift(vector)[:, :, None, None]
        for step, layer in zip(self.steps, self.layers):
            value = _apply(step, layer, value)
        return (value, value.flatten(2), value.mean((2, 3))) if self.outputs else value


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
        "transposed_odd": lambda: nn.ConvTranspose2d(16, 16, (3, 4), (1, 2), (1, 0), output_padding=(0, 1)),
        "softmax_attention": lambda: nn.Conv2d(16, 48, 1),
        "conv_1d": lambda: nn.Conv1d(16, 16, 3, 1, 1),
        "group_norm": lambda: nn.GroupNorm(4, 16),
        "squeeze_excite": lambda: nn.Conv2d(16, 16, 1),
    }
    return layers.get(step, nn.Identity)()


def _apply(step: str, layer: nn.Module, value: Tensor) -> Tensor:
    batch, channels, height, width = value.shape
    if step == "upsample" or step == "nearest":
        return F.interpolate(value, scale_factor=2, mode="bilinear" if step == "upsample" else "nearest")
    if step == "split":
        first, second = value.split([6, 10], 1)
        return torch.cat([second, first * 2], 1)
    if step == "uneven_split":
        first, second, third = value.split([1, 5, 10], 1)
        return torch.cat([third.relu(), first, second], 1)
    if step == "align_corners":
        return F.interpolate(value, scale_factor=2, mode="bilinear", align_corners=True)
    if step == "to_size":
        return F.interpolate(value, size=(height, 16), mode="bilinear")
    if step == "softmax_attention":
        q, k, v = layer(value).reshape(batch, 3, 2, channels // 2, height * width).transpose(-1, -2).unbind(1)
        return F.scaled_dot_product_attention(q, k, v).transpose(-1, -2).reshape(value.shape)
    if step == "conv_1d":
        return layer(value.flatten(2)).reshape(value.shape)
    if step == "squeeze_excite":
        return value * layer(value.mean((2, 3), keepdim=True)).sigmoid()
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


@pytest.fixture(autouse=True, scope="module")
def quick_lowering() -> Iterator[None]:
    """Three networks in the time of one."""
    with forked_lowering():
        yield


@settings(
    max_examples=NETWORKS, deadline=None, derandomize=NETWORKS < 10, database=None,
    suppress_health_check=list(HealthCheck),
)  # fmt: skip
@given(
    st.lists(st.sampled_from(STEPS), min_size=1, max_size=6),
    st.tuples(st.sampled_from(SIZES), st.sampled_from(SIZES)),
    st.booleans(),
    st.booleans(),
    st.integers(0, 99),
)
def test_right_or_refused(steps: list[str], size: tuple[int, int], has_vector: bool, outputs: bool, seed: int) -> None:
    if sum(map(steps.count, GROWING)) > 2:
        return  # images that grow without end take minutes and show nothing new
    module = Network(steps, seed, outputs).eval().requires_grad_(False)
    generator = np.random.default_rng(seed)
    shapes = {"image": (1, 3, *size), **({"vector": (1, 5)} if has_vector else {})}
    inputs = {name: generator.uniform(-1, 1, shape).astype(np.float32) for name, shape in shapes.items()}
    try:
        conversion = convert_in_memory(module_source(module, request=InputRequest(shapes=shapes)))
    except (RequestError, ClaimError) as refusal:
        note(f"refused: {refusal}")
        _count("refused")
        return
    _count("converted")
    single = run_module(module, inputs, ())
    exact = run_in_double(module, ())({name: value.astype(np.float64) for name, value in inputs.items()})
    with Tflite(conversion.content).on_disk() as path, RUNTIMES["litert"].open(path) as session:
        values = dict(zip(session.output_names(), session.run(arrays_for(session.inputs, inputs)), strict=True))
    for name, expected in exact.items():
        # 1e-4 is what verify allows a float32 file, eight times float32's own distance from float64 what it allows
        # where that is more.
        rounding = float(np.abs(single[name].astype(np.float64) - expected).max())
        tolerance = max(1e-4 * float(np.abs(expected).max()), 8 * rounding)
        actual = from_file(values[name], expected.shape, OutputLayout.NHWC)
        np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance, err_msg=name)


def _count(outcome: str) -> None:
    TRIED[outcome] += 1
    if sum(TRIED.values()) % 10 == 0:
        print(f"networks: {TRIED['converted']} converted, {TRIED['refused']} refused", file=sys.__stderr__, flush=True)
