"""Average pooling over few places as a depthwise convolution.

Given: AveragePool over h x w ≤ 4 places of [1, C, H, W], without padding: the downsampling shortcut of section 3.2.2.
Result: a depthwise Conv of the same windows, every weight 1 / (h·w). XNNPACK's average pooling has one kernel, which
reads nine places per output, zeros where there are fewer, and its depthwise convolution has one for up to four.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from converters.passes.base import NodePass, Refused, Rewrite
from converters.passes.tools.graph import Emitter, is_padded, replace_value, shape_of
from evit_mobile.specs import Precision, Target

if TYPE_CHECKING:
    import onnx_ir as ir

#: The places that XNNPACK's smallest depthwise kernels read.
_MOST_PLACES = 4


class SmallPool(NodePass):
    """Rewrites AveragePool of small windows; for int8 targets ``PooledProjection`` merges it into the projection behind
    it.
    """

    name = "small-pool"
    reason = (
        "an average pool reads nine places per output, however small its windows; a depthwise convolution reads four"
    )
    op_types = frozenset({"AveragePool"})

    def match(self, node: ir.Node, target: Target) -> Rewrite | None:
        window = tuple(node.attributes.get_ints("kernel_shape", []))
        if target.precision is Precision.INT8 or len(window) != 2 or not 1 < window[0] * window[1] <= _MOST_PLACES:
            return None
        attributes = node.attributes
        if is_padded(node):
            raise Refused("it pads, and a window at the border averages fewer places")
        if attributes.get_int("ceil_mode", 0) or set(attributes.get_ints("dilations", [1])) != {1}:
            raise Refused("its last windows may hang over the border, or it is dilated")
        shape = shape_of(node.outputs[0])
        if shape_of(node.inputs[0]) is None or shape is None:
            raise Refused("its shape is not static")
        return lambda emit: replace_value(node.outputs[0], _depthwise(emit, node, window, shape))


def _depthwise(emit: Emitter, node: ir.Node, window: tuple[int, ...], shape: tuple[int, ...]) -> ir.Value:
    weight = np.full((shape[1], 1, *window), 1 / np.prod(window), np.float32)
    strides = node.attributes.get_ints("strides", [1, 1])
    operands = [node.inputs[0], emit.constant("mean_weight", weight)]
    attributes = {"kernel_shape": list(window), "strides": list(strides), "group": shape[1]}
    return emit.op("Conv", "depthwise_mean", operands, shape, **attributes)
