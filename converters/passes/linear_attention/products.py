"""Products of traced tensors: a MatMul whose operands are known channel by channel and token by token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from converters.passes.tools.graph import shape_of
from converters.passes.tools.trace import Trace, trace
from evit_mobile.arrays import Array

if TYPE_CHECKING:
    import onnx_ir as ir


class NoMatch(Exception):
    """This is no linear attention; the message says why. ``close`` tells whether it looked enough like one to be
    reported.
    """

    def __init__(self, reason: str, *, close: bool = True) -> None:
        super().__init__(reason)
        self.close = close


@dataclass(frozen=True)
class Factor:
    """q, k or v: ``channels`` [heads, d] names a channel of ``root`` [1, C, H, W] for each place in each head."""

    root: ir.Value
    channels: Array
    relu: bool


@dataclass(frozen=True)
class Product:
    """A MatMul as Σᵣ left[b, i, r] · right[b, j, r], operands traced; ``shape`` is (b, i, j), as its output is
    numbered.
    """

    left: Trace
    right: Trace
    shape: tuple[int, int, int]


def product(value: ir.Value) -> Product | None:
    """The matrix product that gives ``value``, batch axes merged into one; None where it is none or its shape is not
    static.
    """
    node = value.producer()
    shape = shape_of(value)
    if node is None or node.op_type != "MatMul" or shape is None or node.inputs[0] is None or node.inputs[1] is None:
        return None
    left, right = trace(node.inputs[0]), trace(node.inputs[1])
    if left.index.ndim < 2 or right.index.ndim < 2:
        return None
    sides = []
    for side in (left, right):
        matrix = side.index.shape[-2:]
        sides.append(np.broadcast_to(side.index, shape[:-2] + matrix).reshape(-1, *matrix))
    a, b = sides[0], sides[1].swapaxes(1, 2)
    sizes = (a.shape[0], a.shape[1], b.shape[1])
    return Product(Trace(left.root, a, left.relu, left.scale), Trace(right.root, b, right.relu, right.scale), sizes)


def channels_and_tokens(factor: Trace, tokens: int, what: str) -> tuple[Array, Array]:
    """Split element numbers [heads, d, tokens] of a [1, C, H, W] root into channels [heads, d] and token numbers
    [tokens].

    A row of constant ones has the channel ``trace.ONE``.

    Raises:
        NoMatch: the elements are not arranged so; ``what`` names the factor in the reason.
    """
    shape = shape_of(factor.root)
    index = factor.index
    if shape is None or len(shape) != 4 or shape[0] != 1:
        raise NoMatch(f"{what} does not come from one image's [1, C, H, W] tensor")
    image_tokens = shape[2] * shape[3]
    if image_tokens != tokens or index.shape[2] != tokens:
        raise NoMatch(f"{what} runs over {index.shape[2]} of the image's {image_tokens} tokens")
    first = index[..., 0]
    channels = np.where(first >= 0, first // tokens, first)
    real = np.argwhere(first >= 0)
    if not len(real):
        raise NoMatch(f"{what} is constant")
    order = index[tuple(real[0])] % tokens
    expected = np.where(channels[..., None] >= 0, channels[..., None] * tokens + order, channels[..., None])
    if not np.array_equal(index, expected) or not np.array_equal(np.sort(order), np.arange(tokens)):
        raise NoMatch(f"{what} mixes channels and tokens")
    return channels, order
