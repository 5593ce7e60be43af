"""Average pooling before a 1x1 convolution as one convolution, for int8 targets alone.

Given: y = W mean(x over k x k) + b, windows side by side: the downsampling shortcut of section 3.2.2. In int8
AVERAGE_POOL_2D leaves the delegate.
Result: one k x k convolution of stride k with W / k² at every place: the mean and the projection are both sums over the
same values. It takes k² times the projection's multiplications, which int8 makes cheap, and saves a pass over x and a
rounding to int8 in between.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from converters.passes.base import NodePass, Refused, Rewrite
from converters.passes.tools.graph import Emitter, constant_of, replace_value, shape_of, sole_consumer, where
from evit_mobile.specs import Precision, Target

if TYPE_CHECKING:
    import onnx_ir as ir


class PooledProjection(NodePass):
    """Merges AveragePool and the pointwise Conv that alone reads it."""

    name = "pooled-projection"
    reason = "an int8 AVERAGE_POOL_2D leaves the delegate; the convolution behind it can do its sum"
    op_types = frozenset({"AveragePool"})

    def match(self, node: ir.Node, target: Target) -> Rewrite | None:
        if target.precision is not Precision.INT8:
            return None
        side = _window(node)
        if side is None:
            raise Refused("its windows are not squares side by side, or are padded")
        conv = sole_consumer(node.outputs[0])
        weight = constant_of(conv.inputs[1]) if conv is not None and conv.op_type == "Conv" else None
        if conv is None or weight is None or weight.shape[2:] != (1, 1) or conv.attributes.get_int("group", 1) != 1:
            raise Refused("what reads it is not one 1x1 convolution")
        if any(conv.attributes.get_ints("pads", [0])) or set(conv.attributes.get_ints("strides", [1])) != {1}:
            raise Refused("the 1x1 convolution behind it pads or strides")
        shape = shape_of(conv.outputs[0])
        if shape is None:
            raise Refused("its shape is not static")
        spread = np.broadcast_to(weight / np.float32(side * side), (*weight.shape[:2], side, side))

        def rewrite(emit: Emitter) -> None:
            emit = emit.before(conv, where(conv))  # named after the layer whose weights it has
            operands = [node.inputs[0], emit.constant("pooled_weight", spread), *conv.inputs[2:]]
            merged = emit.op("Conv", "pooled", operands, shape, kernel_shape=[side, side], strides=[side, side])
            replace_value(conv.outputs[0], merged)

        return rewrite


def _window(pool: ir.Node) -> int | None:
    """k where the windows are k x k, side by side, unpadded and whole."""
    kernel, strides = (list(pool.attributes.get_ints(name, [1, 1])) for name in ("kernel_shape", "strides"))
    shape = shape_of(pool.inputs[0])
    plain = not any(pool.attributes.get_ints("pads", [0])) and set(pool.attributes.get_ints("dilations", [1])) == {1}
    square = len(kernel) == 2 and kernel == strides and kernel[0] == kernel[1]
    if not plain or not square or shape is None or any(size % kernel[0] for size in shape[2:]):
        return None
    return kernel[0]
