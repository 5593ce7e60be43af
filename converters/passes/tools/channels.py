"""A tensor with other channels, or the same in another order, computed in the first place instead of picked out
afterwards.

Given: y [1, C, H, W] from a convolution, and a table of channels.
Result: a convolution whose output *is* ``y[:, table]``: rows of the weights and biases taken in the table's order.
Depthwise and grouped convolutions pass the choice on to their inputs, concatenations to their parts, activations to
their argument.

So the one q, k, v projection falls into three without a slice or a gather, whatever the order in which its heads are
laid out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from converters.passes.tools.graph import Emitter, constant_of, shape_of
from evit_mobile.arrays import Array

if TYPE_CHECKING:
    import onnx_ir as ir

_ELEMENTWISE = frozenset({"Relu", "HardSwish", "Sigmoid", "HardSigmoid", "Tanh", "Elu", "LeakyRelu", "Gelu"})


class CannotSelect(Exception):
    """No delegated graph gives these channels; the message says where it ended."""


class ChannelSelector:
    """Makes tensors of chosen channels; what was made once is used again."""

    def __init__(self, emitter: Emitter) -> None:
        self._emitter = emitter
        self._made: dict[tuple[int, bytes], ir.Value] = {}

    def select(self, value: ir.Value, table: Array) -> ir.Value:
        """``value[:, table]`` for ``value`` [1, C, H, W].

        Raises:
            CannotSelect: the tensor's producer does not let its channels be chosen.
        """
        table = np.ascontiguousarray(table, np.int64)
        shape = shape_of(value)
        if shape is None or len(shape) != 4:
            raise CannotSelect(f"{value.name} is no [1, C, H, W] tensor of static shape")
        if np.array_equal(table, np.arange(shape[1])):
            return value
        key = (id(value), table.tobytes())
        if key not in self._made:
            self._made[key] = self._select(value, table, (1, len(table), *shape[2:]))
        return self._made[key]

    def _select(self, value: ir.Value, table: Array, shape: tuple[int, ...]) -> ir.Value:
        node = value.producer()
        if node is not None and node.op_type == "Conv":
            output = self._convolution(node, table, shape)
            if output is not None:
                return output
        if node is not None and node.op_type == "Concat" and node.attributes.get_int("axis", 0) in (1, -3):
            return self._concatenation(node, table, shape)
        if node is not None and node.op_type in _ELEMENTWISE and node.inputs[0] is not None:
            inner = self.select(node.inputs[0], table)
            return self._emitter.op(node.op_type, "picked", [inner], shape, **dict(node.attributes))
        if np.array_equal(table, np.arange(table[0], table[0] + len(table))):
            return self._emitter.slice("picked", value, 1, int(table[0]), int(table[0]) + len(table))
        raise CannotSelect(
            f"the channels of {value.name} ({'an input' if node is None else node.op_type}) cannot be reordered"
        )

    def _convolution(self, node: ir.Node, table: Array, shape: tuple[int, ...]) -> ir.Value | None:
        """None where the table does not take whole groups."""
        source, weight = node.inputs[0], constant_of(node.inputs[1])
        bias = constant_of(node.inputs[2]) if len(node.inputs) > 2 else None
        if source is None or weight is None or (bias is None and len(node.inputs) > 2 and node.inputs[2] is not None):
            return None
        groups = node.attributes.get_int("group", 1)
        attributes = dict(node.attributes)
        if groups > 1:
            per_group = weight.shape[0] // groups
            blocks = table.reshape(-1, per_group) // per_group if len(table) % per_group == 0 else None
            if blocks is None or not (blocks == blocks[:, :1]).all():
                return None
            inputs = blocks[:, :1] * weight.shape[1] + np.arange(weight.shape[1])
            source = self.select(source, inputs.reshape(-1))
            attributes.pop("group")
            groups = len(blocks)
        operands = [source, self._emitter.constant("weight", weight[table])]
        if bias is not None:
            operands.append(self._emitter.constant("bias", bias[table]))
        return self._emitter.op("Conv", "picked", operands, shape, **{**attributes, "group": groups})

    def _concatenation(self, node: ir.Node, table: Array, shape: tuple[int, ...]) -> ir.Value:
        shapes = [shape_of(part) for part in node.inputs]
        ends = np.cumsum([0 if size is None else size[1] for size in shapes])
        owner = np.searchsorted(ends, table, side="right")
        # One run for each stretch of the table that stays within one part.
        runs = np.split(np.arange(len(table)), np.flatnonzero(np.diff(owner)) + 1)
        parts = []
        for run in runs:
            part = node.inputs[int(owner[run[0]])]
            size = shapes[int(owner[run[0]])]
            if part is None or size is None:
                raise CannotSelect(f"a part of {node.name} has no static shape")
            parts.append(self.select(part, table[run] - (ends[owner[run[0]]] - size[1])))
        return parts[0] if len(parts) == 1 else self._emitter.op("Concat", "picked", parts, shape, axis=1)
