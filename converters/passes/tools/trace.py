"""Where each element of a tensor comes from, through any chain of layout operations.

An exporter may write one and the same arrangement of heads, channels and tokens as reshape + gather, as split, as
slices, as transposes. Instead of a pattern for each, a chain of such operations is run on the *numbers of the
elements*: the result says for each element of a tensor which element of the chain's root it is. ReLU and multiplication
by a positive constant commute with moving elements about and with each other (relu(s·x) = s·relu(x) for s > 0), so they
may stand anywhere in the chain and are noted beside it.

Given: root [1, 6, 4] → reshape [1, 3, 2, 4] → gather axis 1, index 1 → ReLU → transpose (0, 2, 1).
Result: Trace(root, index = [[[8, 12], [9, 13], [10, 14], [11, 15]]], relu=True, scale=1).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from converters.passes.tools.graph import constant_of, scalar_of, shape_of
from evit_mobile.arrays import Array

if TYPE_CHECKING:
    import onnx_ir as ir

#: Stands in an index for an element that is the constant 1 (what some exporters pad onto V to get the denominator).
ONE = -1
#: Stands in an index for any other constant.
OTHER = -2


@dataclass(frozen=True)
class Trace:
    """A tensor's elements as elements of ``root``, flat, in row-major order; ``ONE`` and ``OTHER`` are constants.

    The tensor is ``scale`` · root[index], with a ReLU around it where ``relu``.
    """

    root: ir.Value
    index: Array
    relu: bool = False
    scale: float = 1.0

    def channel_major(self) -> Trace:
        """[heads, n, d] as [heads, d, n]."""
        return replace(self, index=self.index.swapaxes(1, 2))


class Untraceable(Exception):
    """A shape on the way is not static."""


def trace(value: ir.Value) -> Trace:
    """Follow ``value`` up to the first node that is more than layout, ReLU, or a positive factor.

    Raises:
        Untraceable: a shape on the way is not static.
    """
    node = value.producer()
    step = STEPS.get(node.op_type) if node is not None and node.domain == "" else None
    if node is not None and step is not None:
        done = step(node, value)
        if done is not None:
            return done
    shape = shape_of(value)
    if shape is None:
        raise Untraceable(f"{value.name} has no static shape")
    return Trace(value, np.arange(int(np.prod(shape)), dtype=np.int32).reshape(shape))


def layout_step(node: ir.Node, index: Array, output: ir.Value) -> Array | None:
    """``index`` after ``node`` moved it; None where the node is not plain layout on its first input."""
    if node.op_type not in _LAYOUT or node.domain != "":
        return None
    return _LAYOUT[node.op_type](node, index, output)


def _reshape(node: ir.Node, index: Array, output: ir.Value) -> Array | None:
    shape = shape_of(output)
    return None if shape is None or int(np.prod(shape)) != index.size else index.reshape(shape)


def _transpose(node: ir.Node, index: Array, output: ir.Value) -> Array | None:
    permutation = node.attributes.get("perm")
    return index.transpose(None if permutation is None else list(permutation.as_ints()))


def _slice(node: ir.Node, index: Array, output: ir.Value) -> Array | None:
    parts = [constant_of(value) for value in node.inputs[1:]]
    if len(parts) < 2 or parts[0] is None or parts[1] is None:
        return None
    starts, ends = parts[0].reshape(-1), parts[1].reshape(-1)
    axes = parts[2].reshape(-1) if len(parts) > 2 and parts[2] is not None else np.arange(len(starts))
    steps = parts[3].reshape(-1) if len(parts) > 3 and parts[3] is not None else np.ones(len(starts), np.int64)
    for start, end, axis, step in zip(starts, ends, axes, steps):
        if step <= 0:
            return None
        # Python clips and counts from the end exactly as ONNX does while the step is positive.
        selection = [slice(None)] * index.ndim
        selection[int(axis)] = slice(int(start), int(end), int(step))
        index = index[tuple(selection)]
    return index


def _gather(node: ir.Node, index: Array, output: ir.Value) -> Array | None:
    picked = constant_of(node.inputs[1])
    axis = node.attributes.get_int("axis", 0)
    return None if picked is None else np.take(index, picked.astype(np.int64), axis=axis)


def _split(node: ir.Node, index: Array, output: ir.Value) -> Array | None:
    axis = node.attributes.get_int("axis", 0)
    sizes = [shape_of(value) for value in node.outputs]
    if any(size is None for size in sizes):
        return None
    bounds = np.cumsum([size[axis] for size in sizes if size is not None])[:-1]
    return np.split(index, bounds, axis=axis)[list(node.outputs).index(output)]


def _cast(node: ir.Node, index: Array, output: ir.Value) -> Array | None:
    source = node.inputs[0]
    return index if source is not None and source.dtype == output.dtype else None


_LAYOUT: dict[str, Callable[[ir.Node, Array, ir.Value], Array | None]] = {
    "Reshape": _reshape, "Flatten": _reshape, "Squeeze": _reshape, "Unsqueeze": _reshape, "Identity": _reshape,
    "Transpose": _transpose, "Slice": _slice, "Gather": _gather, "Split": _split, "Cast": _cast,
}  # fmt: skip


def _moved(node: ir.Node, output: ir.Value) -> Trace | None:
    source = node.inputs[0]
    if source is None:
        return None
    before = trace(source)
    index = layout_step(node, before.index, output)
    return None if index is None else replace(before, index=index)


def _relu(node: ir.Node, output: ir.Value) -> Trace | None:
    source = node.inputs[0]
    if source is None:
        return None
    if node.op_type == "Max":
        operands = [value for value in node.inputs if scalar_of(value) != 0.0]
        if len(node.inputs) != 2 or len(operands) != 1 or operands[0] is None:
            return None
        source = operands[0]
        if shape_of(source) != shape_of(output):
            return None
    if node.op_type == "Clip":
        low = scalar_of(node.inputs[1]) if len(node.inputs) > 1 else None
        if low != 0.0 or (len(node.inputs) > 2 and node.inputs[2] is not None):
            return None
    return replace(trace(source), relu=True)


def _scaled(node: ir.Node, output: ir.Value) -> Trace | None:
    left, right = node.inputs
    factor, source = scalar_of(right), left
    if factor is None and node.op_type == "Mul":
        factor, source = scalar_of(left), right
    if factor is None or source is None or not 0 < factor < np.inf or shape_of(source) != shape_of(output):
        return None
    before = trace(source)
    if (before.index < 0).any():
        return None  # constants would be scaled too
    return replace(before, scale=before.scale * (factor if node.op_type == "Mul" else 1 / factor))


def _pad(node: ir.Node, output: ir.Value) -> Trace | None:
    source = node.inputs[0]
    pads = constant_of(node.inputs[1])
    fill = scalar_of(node.inputs[2]) if len(node.inputs) > 2 and node.inputs[2] is not None else 0.0
    if source is None or pads is None or fill is None or node.attributes.get_string("mode", "constant") != "constant":
        return None
    before = trace(source)
    rank = before.index.ndim
    if len(pads) != 2 * rank or before.scale != 1.0 or (pads < 0).any():
        return None
    widths = [(int(pads[axis]), int(pads[rank + axis])) for axis in range(rank)]
    return replace(before, index=np.pad(before.index, widths, constant_values=ONE if fill == 1.0 else OTHER))


def _concat(node: ir.Node, output: ir.Value) -> Trace | None:
    """Only a tensor with constants beside it is layout; a concatenation of computed tensors is a root."""
    constants = [constant_of(value) for value in node.inputs]
    computed = [value for value, constant in zip(node.inputs, constants) if constant is None]
    if len(computed) != 1 or computed[0] is None:
        return None
    before = trace(computed[0])
    if before.scale != 1.0:
        return None
    parts = [
        before.index if array is None else np.where(array == 1.0, ONE, OTHER).astype(np.int32) for array in constants
    ]
    return replace(before, index=np.concatenate(parts, axis=node.attributes.get_int("axis", 0)))


STEPS: dict[str, Callable[[ir.Node, ir.Value], Trace | None]] = {
    **dict.fromkeys(_LAYOUT, _moved),
    "Relu": _relu,
    "Clip": _relu,
    "Max": _relu,
    "Mul": _scaled,
    "Div": _scaled,
    "Pad": _pad,
    "Concat": _concat,
}
