"""A transposed convolution whose output padding reaches past what its kernel covers.

Given: ConvTranspose of x [B, C, H, W] by constant weights [C, O / groups, kh, kw] with output_padding larger than the
padding at the end: rows or columns of the bias alone, which the lowering leaves out.
Result: the kernel with zeros behind it until it covers them, and the padding at the end that gives the same size.
Products with the added zeros are 0, so nothing else changes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from converters.passes.base import PassResult
from converters.passes.tools.graph import Emitter, constant_of, shape_of, where
from evit_mobile.specs import Target

if TYPE_CHECKING:
    import onnx_ir as ir


class OutputPadding:
    """Rewrites ConvTranspose with output_padding beyond its kernel."""

    name = "output-padding"
    reason = "the lowering leaves out the rows that output_padding adds beyond the kernel"

    def __call__(self, model: ir.Model, target: Target) -> PassResult:
        result = PassResult()
        for node in [node for node in model.graph if node.op_type == "ConvTranspose"]:
            pads, more = node.attributes.get_ints("pads", [0] * 4), node.attributes.get_ints("output_padding", [0, 0])
            if len(pads) != 4 or not any(extra > end for extra, end in zip(more, pads[2:])):
                continue
            weight, shapes = constant_of(node.inputs[1]), (shape_of(node.inputs[0]), shape_of(node.outputs[0]))
            if weight is None or None in shapes or node.attributes.get_string("auto_pad", "NOTSET") != "NOTSET":
                result.decline(where(node), "its weights, padding or shape are not static")
                continue
            _rewrite(model.graph, node, list(pads), list(more))
            result.fired += 1
        return result


def _rewrite(graph: ir.Graph, node: ir.Node, pads: list[int], more: list[int]) -> None:
    import onnx_ir as ir

    weight = constant_of(node.inputs[1])
    if weight is None:
        return
    dilations = node.attributes.get_ints("dilations", [1, 1])
    taps = [-(-max(extra - end, 0) // step) for extra, end, step in zip(more, pads[2:], dilations)]
    longer = np.pad(weight, [(0, 0), (0, 0), (0, taps[0]), (0, taps[1])])
    ends = [end - extra + count * step for end, extra, count, step in zip(pads[2:], more, taps, dilations)]
    emit = Emitter(graph, node, where(node))
    node.replace_input_with(1, emit.constant("longer_kernel", longer))
    node.attributes.pop("output_padding")
    for name, numbers in (("kernel_shape", longer.shape[2:]), ("pads", [*pads[:2], *ends])):
        node.attributes[name] = ir.AttrInt64s(name, [int(number) for number in numbers])
