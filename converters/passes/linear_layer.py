"""Linear layers over the last axis as FULLY_CONNECTED.

Given: y = x W + b with x [..., K] computed, W [K, N] constant and b [N] constant or absent, written as MatMul and Add. It is lowered to
BATCH_MATMUL, which takes weights as it takes a second map: no int8 or hybrid form of it is delegated, and the sum is an op of its own.
Result: Gemm on [M, K], M = the product of the other axes, with W as [N, K], which is lowered to FULLY_CONNECTED.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from converters.passes.base import PassResult
from converters.passes.tools.graph import Array, Emitter, constant_of, replace_value, shape_of, sole_consumer, where
from evit_mobile.specs import Target

if TYPE_CHECKING:
    import onnx_ir as ir


@dataclass(frozen=True)
class Linear:
    """``source`` [..., K], of static shape, by ``weight`` [K, N], plus ``bias`` [N] where there is one."""

    source: ir.Value
    weight: Array
    bias: Array | None

    @property
    def shape(self) -> tuple[int, ...]:
        """[..., N], of the result."""
        given = shape_of(self.source)
        assert given is not None
        return (*given[:-1], self.weight.shape[1])

    @property
    def rows(self) -> int:
        """M, the number of vectors that it is applied to."""
        return math.prod(self.shape[:-1])

    def emit(self, emitter: Emitter) -> ir.Value:
        """The layer's result as [M, N]."""
        width, channels = self.weight.shape
        flat = emitter.reshape("rows", self.source, (self.rows, width))
        operands = [flat, emitter.constant("weight", self.weight.T)]
        if self.bias is not None:
            operands.append(emitter.constant("bias", self.bias))
        return emitter.op("Gemm", "linear", operands, (self.rows, channels), transB=1)


def linear_of(value: ir.Value) -> Linear | None:
    """The linear layer whose result, with its bias, ``value`` is; None where it is none, or of a shape that is not static."""
    node = value.producer()
    if node is None or node.domain != "":
        return None
    if node.op_type == "MatMul":
        return _product(node, None)
    if node.op_type != "Add":
        return None
    for product, other in (tuple(node.inputs), tuple(node.inputs)[::-1]):
        bias, made = constant_of(other), product.producer() if product is not None else None
        if (
            bias is None
            or product is None
            or made is None
            or made.op_type != "MatMul"
            or sole_consumer(product) is not node
        ):
            continue
        layer = _product(made, bias)
        if layer is not None and bias.shape == layer.weight.shape[1:]:
            return layer
    return None


def layer_of(node: ir.Node) -> tuple[ir.Value, Linear] | None:
    """The linear layer that MatMul ``node`` begins, and its result: the sum with its bias, or the product itself; None as ``linear_of``."""
    follower = sole_consumer(node.outputs[0])
    ends = [node.outputs[0]] if follower is None else [follower.outputs[0], node.outputs[0]]
    return next(((end, layer) for end in ends if (layer := linear_of(end)) is not None), None)


def _product(node: ir.Node, bias: Array | None) -> Linear | None:
    source, weight = node.inputs[0], constant_of(node.inputs[1])
    if source is None or weight is None or weight.ndim != 2 or not shape_of(source) or constant_of(source) is not None:
        return None
    return Linear(source, weight, bias)


class LinearLayer:
    """Rewrites MatMul by constant weights, with the Add of a bias behind it."""

    name = "linear-layer"
    reason = "BATCH_MATMUL has no delegated form with int8 weights, FULLY_CONNECTED has, and adds the bias too"

    def __call__(self, model: ir.Model, target: Target) -> PassResult:
        result = PassResult()
        for node in [node for node in model.graph if node.op_type == "MatMul" and node.domain == ""]:
            found = layer_of(node)
            if found is None:
                continue
            end, layer = found
            last = end.producer()
            assert last is not None
            emit = Emitter(model.graph, last, where(node))
            replace_value(end, emit.reshape("unflattened", layer.emit(emit), layer.shape))
            result.fired += 1
        return result
