"""Normalisations in half precision. Oracles: PyTorch in double precision, and numpy's float16 arithmetic, in which
numbers below 2^-14 are taken for zero as on a processor that LiteRT has set up.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnx.helper
import pytest
import torch
import torch.nn.functional as F
from onnx.reference import ReferenceEvaluator
from torch import Tensor, nn

from evit_mobile.arrays import Array
from evit_mobile.specs import Precision
from tests.kits.graphs import export, noise, ops, relative_error, rewrite

CHANNELS, SIDE = 8, 6
SHAPE = (1, CHANNELS, SIDE, SIDE)
#: Standard deviations of the input: dark, about 1, and with squares that leave half precision.
SIZES = (0.0, 1e-3, 1e-2, 1.0, 1000.0)
#: Some roundings of half precision, 2^-11 each.
TOLERANCE = 8 * 2.0**-11
#: What is divided by, at least: the root of ε = 1e-5.
SMALLEST_ROOT = 3e-3
HALF = np.finfo(np.float16)


class LayerNorm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(CHANNELS)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.norm(x.permute(0, 2, 3, 1))
        return y


class RootMeanSquare(nn.Module):
    """Written by hand, as a quotient or as a product."""

    def __init__(self, is_product: bool) -> None:
        super().__init__()
        self.is_product = is_product

    def forward(self, x: Tensor) -> Tensor:
        power = (x * x if self.is_product else x**2).mean(1, keepdim=True) + 1e-6
        return x * torch.rsqrt(power) if self.is_product else x / power.sqrt()


class Norm(nn.Module):
    """Over the length of a vector, as PyTorch or as one writes it by hand."""

    def __init__(self, by_hand: bool) -> None:
        super().__init__()
        self.by_hand = by_hand

    def forward(self, x: Tensor) -> Tensor:
        return x / (x.norm(dim=1, keepdim=True) + 1e-6) if self.by_hand else F.normalize(x, dim=1)


class Response(nn.Module):
    """Global response normalisation, as ConvNeXt V2 has it."""

    def forward(self, x: Tensor) -> Tensor:
        norm = x.norm(dim=(2, 3), keepdim=True)
        response: Tensor = norm / (norm.mean(1, keepdim=True) + 1e-6)
        return x * response


class Standard(nn.Module):
    """Over the standard deviation of a sample, with ε outside of the root, as in the Annotated Transformer."""

    def __init__(self, epsilon: float, is_root: bool = False) -> None:
        super().__init__()
        self.epsilon, self.is_root = epsilon, is_root

    def forward(self, x: Tensor) -> Tensor:
        centred = x - x.mean(1, keepdim=True)
        if self.is_root:
            return centred / (x.var(1, keepdim=True) + self.epsilon).sqrt()
        return centred / (x.std(1, keepdim=True) + self.epsilon)


NORMS: dict[str, Callable[[], nn.Module]] = {
    "layer": LayerNorm,
    "group": lambda: nn.GroupNorm(2, CHANNELS),
    "instance": lambda: nn.InstanceNorm2d(CHANNELS, affine=True),
    "quotient": lambda: RootMeanSquare(False),
    "product": lambda: RootMeanSquare(True),
    "normalize": lambda: Norm(False),
    "norm": lambda: Norm(True),
    "maps": lambda: nn.LayerNorm(SHAPE[1:]),
    "response": Response,
    "standard": lambda: Standard(1e-5),
    "standard, small": lambda: Standard(1e-6),
    "variance": lambda: Standard(1e-5, is_root=True),
}


def _rounded(value: Any) -> Any:
    if not isinstance(value, np.ndarray) or value.dtype != np.float32:
        return value
    with np.errstate(over="ignore"):
        half = value.astype(np.float16)
    return np.where(np.abs(half) < HALF.tiny, np.float16(0), half).astype(np.float32)


def _in_half_precision(model: onnx.ModelProto, x: Array) -> Array:
    """The graph's one output, each value rounded to float16 before an operator reads it."""
    values = {item.name: _rounded(onnx.numpy_helper.to_array(item)) for item in model.graph.initializer}
    values[model.graph.input[0].name] = _rounded(x)
    for node in model.graph.node:
        one = onnx.helper.make_model(
            onnx.helper.make_graph(
                [node],
                "one",
                [onnx.helper.make_value_info(name, onnx.TypeProto()) for name in node.input],
                [onnx.helper.make_value_info(name, onnx.TypeProto()) for name in node.output],
            ),
            opset_imports=model.opset_import,
        )
        with np.errstate(all="ignore"):
            results = ReferenceEvaluator(one).run(None, {name: values[name] for name in node.input})
        values |= {name: _rounded(result) for name, result in zip(node.output, results)}
    result: Array = values[model.graph.output[0].name]
    return result


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", NORMS)
def test_right_at_every_size(name: str, size: float) -> None:
    module = NORMS[name]().eval()
    rewritten, _ = rewrite(export(module, SHAPE), precision=Precision.FP16)
    x = _rounded(np.float32(size) * noise(SHAPE))
    expected = module.double()(torch.from_numpy(x).double()).detach().numpy()
    if size:
        # What is itself below the smallest number is lost; an ε outside of the root hides nothing of that.
        vanished = float(HALF.tiny) / max(size, 0 if name.startswith("standard") else SMALLEST_ROOT)
        assert relative_error(expected, _in_half_precision(rewritten, x)) <= TOLERANCE + vanished
    else:
        assert not _in_half_precision(rewritten, x).any() and not expected.any()


@pytest.mark.parametrize("name", [name for name in NORMS if name != "layer"])
def test_single_precision_stays(name: str) -> None:
    assert rewrite(export(NORMS[name]().eval(), SHAPE))[1]["half-normalisation"].fired == 0


class Other(nn.Module):
    """Something else over the root."""

    def forward(self, x: Tensor) -> Tensor:
        return (x + 1) / (x.pow(2).mean(1, keepdim=True) + 1e-3).sqrt()


def test_what_is_divided_is_what_was_squared() -> None:
    rewritten, reports = rewrite(export(Other(), SHAPE), precision=Precision.FP16)
    assert reports["half-normalisation"].fired == 0 and ops(rewritten)["Sqrt"] == 1
