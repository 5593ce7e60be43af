"""Constant factors sink into the weights that read them, for int8 targets alone.

Given: y = c · x with a scalar c, as hard-swish's and hard-sigmoid's ⅙ stand in the graph.
Result: x in y's place and W' = c W in every convolution, product and linear layer that y reaches. On the way c passes through layout,
zero padding, pooling, means and products with other maps; where y is added to a convolution's result z, c (x + z / c): that convolution
gives z / c, and c goes on behind the sum. If one reader can do none of this, the factor stays where it is.

In int8 every such factor would be a pass over the activations and a rounding; weights per channel hold it in their scales for free.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from converters.passes.base import PassResult
from converters.passes.graph import Array, Emitter, constant_of, replace_value, scalar_of, sole_consumer, where
from evit_mobile.specs import Precision, Target

if TYPE_CHECKING:
    import onnx_ir as ir

_LINEAR = frozenset(
    {"Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Identity", "GlobalAveragePool", "AveragePool", "ReduceMean", "ReduceSum"}
)  # fmt: skip
_WEIGHTED = frozenset({"Conv", "Gemm", "MatMul"})


class _Stuck(Exception):
    """The factor cannot go on; the message says where and why."""


@dataclass
class _Plan:
    """Factors by weighted node: ``inputs`` on its weights alone, ``outputs`` on weights and bias."""

    inputs: dict[ir.Node, float] = field(default_factory=dict)
    outputs: dict[ir.Node, float] = field(default_factory=dict)


class SinkScales:
    """Removes Mul by a scalar where everything that reads it can take the factor up."""

    name = "sink-scales"
    reason = "a factor on a map is a pass over it and a rounding; in the next weights it costs nothing"

    def __call__(self, model: ir.Model, target: Target) -> PassResult:
        result = PassResult()
        if target.precision is not Precision.INT8:
            return result
        for node in [node for node in model.graph if node.op_type == "Mul"]:
            factor, value = _scaled(node)
            if value is None or factor <= 0:
                continue
            plan = _Plan()
            try:
                _sink(node.outputs[0], factor, plan)
            except _Stuck as stuck:
                result.decline(where(node), str(stuck))
                continue
            _apply(model.graph, plan, f"sunk_{result.fired}")
            replace_value(node.outputs[0], value)
            result.fired += 1
        return result


def _scaled(node: ir.Node) -> tuple[float, ir.Value | None]:
    """(c, x) where ``node`` is c · x; x is None where it is not."""
    for constant, value in ((1, 0), (0, 1)):
        factor = scalar_of(node.inputs[constant])
        if factor is not None and node.inputs[value] is not None and constant_of(node.inputs[value]) is None:
            return factor, node.inputs[value]
    return 0.0, None


def _sink(value: ir.Value, factor: float, plan: _Plan) -> None:
    """Plan what lets ``value`` be computed without its factor."""
    if value.is_graph_output():
        raise _Stuck("the graph gives it out")
    for node in dict.fromkeys(value.consumers()):
        if list(node.inputs).count(value) != 1:
            raise _Stuck(f"{where(node)} ({node.op_type}) reads it twice")
        if node.op_type in _WEIGHTED:
            if not _has_weights(node) or node.inputs[0] is not value:
                raise _Stuck(f"the weights of {where(node)} are computed")
            plan.inputs[node] = plan.inputs.get(node, 1.0) * factor
        elif node.op_type == "Add":
            _sink_through_sum(node, value, factor, plan)
        elif node.op_type in _LINEAR and node.inputs[0] is value or node.op_type == "Mul" or _pads_zeros(node):
            _sink(node.outputs[0], factor, plan)
        else:
            raise _Stuck(f"{where(node)} ({node.op_type}) reads it")


def _sink_through_sum(node: ir.Node, value: ir.Value, factor: float, plan: _Plan) -> None:
    other = node.inputs[1] if node.inputs[0] is value else node.inputs[0]
    producer = other.producer() if other is not None else None
    if other is None or producer is None or producer.op_type != "Conv" or not _has_weights(producer) or sole_consumer(other) is not node:
        raise _Stuck(f"{where(node)} adds it to what no convolution of its own gives")
    plan.outputs[producer] = plan.outputs.get(producer, 1.0) / factor
    _sink(node.outputs[0], factor, plan)


def _pads_zeros(node: ir.Node) -> bool:
    fill = node.inputs[2] if len(node.inputs) > 2 else None
    return node.op_type == "Pad" and node.attributes.get_string("mode", "constant") == "constant" and (
        fill is None or scalar_of(fill) == 0.0
    )  # fmt: skip


def _has_weights(node: ir.Node) -> bool:
    constants = [constant_of(operand) for operand in node.inputs[1:] if operand is not None]
    return bool(constants) and all(constant is not None for constant in constants)


def _apply(graph: ir.Graph, plan: _Plan, name: str) -> None:
    for node in dict.fromkeys([*plan.inputs, *plan.outputs]):
        emit = Emitter(graph, node, f"{where(node)}/{name}")  # one node may take up several
        outside = plan.outputs.get(node, 1.0)
        weight = constant_of(node.inputs[1])
        assert weight is not None
        node.replace_input_with(1, emit.constant("weight", _times(weight, plan.inputs.get(node, 1.0) * outside)))
        bias = constant_of(node.inputs[2]) if len(node.inputs) > 2 else None
        if bias is not None and outside != 1.0:
            node.replace_input_with(2, emit.constant("bias", _times(bias, outside)))


def _times(values: Array, factor: float) -> Array:
    return (values.astype(np.float64) * factor).astype(np.float32)
