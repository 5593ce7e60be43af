"""Linear layers over the last axis as FULLY_CONNECTED.

Given: y = x W + b with x [..., K] computed, W [K, N] constant and b [N] constant or absent, written as MatMul and Add.
It is lowered to BATCH_MATMUL, which takes weights as it takes a second map: no int8 or hybrid form of it is delegated,
and the sum is an op of its own. Result: Gemm on [M, K], M = the product of the other axes, with W as [N, K], which is
lowered to FULLY_CONNECTED. The passes behind this one know linear layers as Gemm alone.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from converters.passes.base import NodePass, Rewrite
from converters.passes.tools.graph import Emitter, constant_of, replace_value, shape_of, sole_consumer, where
from converters.passes.tools.linear import Linear
from evit_mobile.arrays import Array
from evit_mobile.specs import Target

if TYPE_CHECKING:
    import onnx_ir as ir


class LinearLayer(NodePass):
    """Rewrites MatMul by constant weights, with the Add of a bias behind it."""

    name = "linear-layer"
    reason = "BATCH_MATMUL has no delegated form with int8 weights, FULLY_CONNECTED has, and adds the bias too"
    op_types = frozenset({"MatMul"})

    def match(self, node: ir.Node, target: Target) -> Rewrite | None:
        source, weight = node.inputs[0], constant_of(node.inputs[1])
        if source is None or weight is None or weight.ndim != 2 or constant_of(source) is not None:
            return None
        shape = shape_of(source)
        if not shape:
            return None
        end, bias = _with_bias(node, weight.shape[1])
        last = end.producer()
        if last is None:
            return None
        rows = math.prod(shape[:-1])
        result = (*shape[:-1], weight.shape[1])

        def rewrite(emit: Emitter) -> None:
            emit = emit.before(last, where(node))
            flat = emit.reshape("rows", source, (rows, shape[-1]))
            replace_value(end, emit.reshape("unflattened", Linear(flat, weight.T, bias).emit_gemm(emit), result))

        return rewrite


def _with_bias(product: ir.Node, channels: int) -> tuple[ir.Value, Array]:
    """The result of the layer that begins with MatMul ``product``, and its bias [channels]: zeros where no Add alone
    reads it.
    """
    reader = sole_consumer(product.outputs[0])
    if reader is not None and reader.op_type == "Add" and reader.domain == "":
        for operand in reader.inputs:
            bias = constant_of(operand)
            if bias is not None and bias.shape == (channels,):
                return reader.outputs[0], bias
    return product.outputs[0], np.zeros(channels, np.float32)
