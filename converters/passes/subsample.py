"""Every second place of a map, or every third.

Given: Slice with steps, or a pool of 1x1 with strides. They are lowered to STRIDED_SLICE and to pools of one place,
which leave the delegate.
Result: for rows and columns of a map [1, C, H, W], a depthwise convolution 1x1 of ones with that stride, which keeps
the layout of the convolutions around it; a product by one is exact. For any other axis of n places, Reshape of
[A, n, B] to [A, n/s, s*B] and a Slice of the first B. What runs backwards is a Gather by a table.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from converters.passes.base import NodePass, Rewrite
from converters.passes.tools.graph import Emitter, constant_of, replace_value, shape_of
from evit_mobile.specs import Target

if TYPE_CHECKING:
    import onnx_ir as ir

_POOLS = frozenset({"AveragePool", "MaxPool"})


@dataclass(frozen=True)
class _Steps:
    """The places ``start``, ``start + step``, … before ``end`` of one axis."""

    axis: int
    start: int
    end: int
    step: int

    @property
    def count(self) -> int:
        return len(self.places)

    @property
    def places(self) -> range:
        return range(self.start, self.end, self.step)


class Subsample(NodePass):
    """Rewrites Slice with steps, and pools that take one place of each window."""

    name = "subsample"
    reason = "STRIDED_SLICE and pools of one place leave the delegate"
    op_types = frozenset({"Slice", *_POOLS})

    def match(self, node: ir.Node, target: Target) -> Rewrite | None:
        import onnx_ir as ir

        value, output = node.inputs[0], node.outputs[0]
        shape, after = shape_of(value), shape_of(output)
        if value is None or shape is None or after is None or output.dtype is not ir.DataType.FLOAT:
            return None
        steps = _of_pool(node, shape) if node.op_type in _POOLS else _of_slice(node, shape)
        if all(item.step == 1 for item in steps):
            return None
        return lambda emit: replace_value(output, _subsampled(emit, value, steps))


def _of_pool(node: ir.Node, shape: tuple[int, ...]) -> list[_Steps]:
    kernel, strides = node.attributes.get_ints("kernel_shape", []), node.attributes.get_ints("strides", [1, 1])
    plain = not any(node.attributes.get_ints("pads", [0])) and len(node.outputs) == 1
    if any(size != 1 for size in kernel) or len(shape) != 4 or not plain:
        return []
    return [_Steps(axis, 0, shape[axis], step) for axis, step in zip((2, 3), strides)]


def _of_slice(node: ir.Node, shape: tuple[int, ...]) -> list[_Steps]:
    """What the node takes, axis by axis; empty where it has no steps or they are computed."""
    if len(node.inputs) < 5 or node.inputs[4] is None:
        return []
    bounds = [constant_of(operand) for operand in (*node.inputs[1:3], node.inputs[4])]
    axes = constant_of(node.inputs[3]) if node.inputs[3] is not None else np.arange(len(shape))
    if axes is None or any(array is None for array in bounds):
        return []
    taken = []
    starts, ends, steps = ([int(number) for number in np.ravel(array)] for array in bounds if array is not None)
    for axis, start, end, step in zip(map(int, np.ravel(axes)), starts, ends, steps):
        axis %= len(shape)
        first, last, _ = slice(start, end, step).indices(shape[axis])
        taken.append(_Steps(axis, first, last, step))
    return taken


def _subsampled(emit: Emitter, value: ir.Value, steps: list[_Steps]) -> ir.Value:
    for item in steps:
        if item.step == 1:
            value = emit.slice("part", value, item.axis, item.start, item.end)
        if item.step < 0:
            value = _by_table(emit, value, item)
    strided = [item for item in steps if item.step > 1]
    if len(shape_of(value) or ()) == 4 and all(item.axis in (2, 3) for item in strided) and _is_map(value):
        return _by_convolution(emit, value, strided)
    for item in strided:
        value = _by_reshape(emit, value, item)
    return value


def _by_table(emit: Emitter, value: ir.Value, item: _Steps) -> ir.Value:
    shape = list(shape_of(value) or ())
    shape[item.axis] = item.count
    return emit.op("Gather", "backwards", [value, emit.ints("places", item.places)], shape, axis=item.axis)


def _is_map(value: ir.Value) -> bool:
    """Whether the last two axes are an image's: not behind what another axis was subsampled of, or a Transpose."""
    producer = value.producer()
    return producer is None or producer.op_type not in ("Slice", "Transpose", "Reshape")


def _by_convolution(emit: Emitter, value: ir.Value, steps: list[_Steps]) -> ir.Value:
    strides = [1, 1]
    for item in steps:
        if item.start or item.end < (shape_of(value) or ())[item.axis]:
            value = emit.slice("part", value, item.axis, item.start, item.end)
        strides[item.axis - 2] = item.step
    shape = list(shape_of(value) or ())
    for item in steps:
        shape[item.axis] = item.count
    ones = emit.constant("ones", np.ones((shape[1], 1, 1, 1), np.float32))
    return emit.op("Conv", "kept", [value, ones], shape, group=shape[1], kernel_shape=[1, 1], strides=strides)


def _by_reshape(emit: Emitter, value: ir.Value, item: _Steps) -> ir.Value:
    shape = list(shape_of(value) or ())
    outer, inner = math.prod(shape[: item.axis]), math.prod(shape[item.axis + 1 :])
    length = item.count * item.step
    value = emit.reshape("flat", value, [outer, shape[item.axis], inner])
    stop = min(item.start + length, shape[item.axis])
    if item.start or stop < shape[item.axis]:
        value = emit.slice("part", value, 1, item.start, stop)
    missing = length - (stop - item.start)
    if missing:
        value = emit.pad("whole", value, [0, 0, 0, 0, missing, 0])
    value = emit.reshape("groups", value, [outer, item.count, item.step * inner])
    shape[item.axis] = item.count
    return emit.reshape("kept", emit.slice("first", value, 2, 0, inner), shape)
