"""Average pooling over few places as a depthwise convolution.

Given: AveragePool over h x w ≤ 4 places of [1, C, H, W], without padding: the downsampling shortcut of section 3.2.2.
Result: a depthwise Conv of the same windows, every weight 1 / (h·w). XNNPACK's average pooling has one kernel, which reads nine places
an output, zeros where there are fewer, and its depthwise convolution has one for up to four.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from converters.passes.base import PassResult
from converters.passes.tools.graph import Emitter, replace_value, shape_of, where
from evit_mobile.specs import Precision, Target

if TYPE_CHECKING:
    import onnx_ir as ir

#: The places that XNNPACK's smallest depthwise kernels read.
_MOST_PLACES = 4


class SmallPool:
    """Rewrites AveragePool of small windows; int8 targets have a rewrite of their own."""

    name = "small-pool"
    reason = (
        "an average pool reads nine places an output, however small its windows; a depthwise convolution reads four"
    )

    def __call__(self, model: ir.Model, target: Target) -> PassResult:
        result = PassResult()
        if target.precision is Precision.INT8:
            return result
        for node in [node for node in model.graph if node.op_type == "AveragePool"]:
            window = node.attributes.get_ints("kernel_shape", [])
            if len(window) != 2 or not 1 < window[0] * window[1] <= _MOST_PLACES:
                continue
            refusal = _refusal(node)
            if refusal is not None:
                result.decline(where(node), refusal)
                continue
            _rewrite(model.graph, node, tuple(window))
            result.fired += 1
        return result


def _refusal(node: ir.Node) -> str | None:
    attributes = node.attributes
    if any(attributes.get_ints("pads", [0])) or attributes.get_string("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        return "it pads: the places of a border are fewer"
    if attributes.get_int("ceil_mode", 0) or set(attributes.get_ints("dilations", [1])) != {1}:
        return "its last windows may hang over the border, or it is dilated"
    if shape_of(node.inputs[0]) is None or shape_of(node.outputs[0]) is None:
        return "its shape is not static"
    return None


def _rewrite(graph: ir.Graph, node: ir.Node, window: tuple[int, ...]) -> None:
    shape = shape_of(node.outputs[0])
    assert shape is not None
    emit = Emitter(graph, node, where(node))
    weight = np.full((shape[1], 1, *window), 1 / np.prod(window), np.float32)
    strides = node.attributes.get_ints("strides", [1, 1])
    operands = [node.inputs[0], emit.constant("mean_weight", weight)]
    attributes = {"kernel_shape": list(window), "strides": list(strides), "group": shape[1]}
    replace_value(node.outputs[0], emit.op("Conv", "depthwise_mean", operands, shape, **attributes))
