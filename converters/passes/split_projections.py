"""Parts of a projection as projections of their own, where an attention is left that the linear attention pass did not
take.

Given: y from one projection, taken apart by Gather, Slice or Split, as softmax attention's q, k, v are: [1, 3·h·d, H,
W] of a convolution, reshaped to [1, 3, h, d, N], or [1, N, 3·h·d] of a linear layer, reshaped and transposed to [3, 1,
h, N, d]. GATHER and slices of rank 5 leave the delegate.
Result: one projection a part, with its rows of the weights, brought to the part's shape: y[:, table] is the convolution
by W[table].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from converters.passes.base import NodePass, Refused, Rewrite
from converters.passes.tools.channels import CannotSelect, ChannelSelector
from converters.passes.tools.graph import Emitter, replace_value, shape_of
from converters.passes.tools.linear import Linear, linear_of_gemm
from converters.passes.tools.trace import Trace, Untraceable, trace
from evit_mobile.arrays import Array
from evit_mobile.specs import Target

if TYPE_CHECKING:
    import onnx_ir as ir

_PARTING = frozenset({"Gather", "Slice", "Split"})
_MOVING = frozenset({"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Identity"})


class _Part(Protocol):
    """Some of the channels of ``root``, all places of each."""

    @property
    def root(self) -> ir.Value: ...

    def make(self, emitter: Emitter, selector: ChannelSelector) -> ir.Value:
        """The part by a projection of its own; its elements in order, in whatever shape."""


@dataclass(frozen=True)
class _OfConvolution:
    """The whole channels ``table`` of ``root`` [1, C, H, W], in order."""

    root: ir.Value
    table: Array

    def make(self, emitter: Emitter, selector: ChannelSelector) -> ir.Value:
        return selector.select(self.root, self.table)


@dataclass(frozen=True)
class _OfLinear:
    """The channels ``table`` of every row of ``layer``, whose result ``root`` is: [rows, channels] as ``sizes``, axes
    then in the order ``permutation``.
    """

    root: ir.Value
    layer: Linear
    table: Array
    sizes: tuple[int, ...]
    permutation: tuple[int, ...]

    def make(self, emitter: Emitter, selector: ChannelSelector) -> ir.Value:
        rows = self.layer.rows(self.table).emit_gemm(emitter)
        return emitter.transpose("arranged", emitter.reshape("heads", rows, self.sizes), self.permutation)


class SplitProjections(NodePass):
    """Replaces Gather, Slice and Split of a projection's channels by projections."""

    name = "split-projections"
    reason = "GATHER and 5-D STRIDED_SLICE leave the delegate; rows of a projection's weights can be taken beforehand"
    op_types = _PARTING

    def match(self, node: ir.Node, target: Target) -> Rewrite | None:
        parts = [part for output in node.outputs if (part := _part(output)) is not None]
        if len(parts) < len(node.outputs):
            return None
        if not all(_is_only_parted(part.root) for part in parts):
            raise Refused("the whole projection is read too, so its parts would be computed twice")
        return lambda emit: _split(emit, node, parts)


def _split(emit: Emitter, node: ir.Node, parts: list[_Part]) -> None:
    selector = ChannelSelector(emit)
    try:
        values = [part.make(emit, selector) for part in parts]
    except CannotSelect as error:
        raise Refused(str(error)) from error
    for output, value in zip(node.outputs, values, strict=True):
        replace_value(output, emit.reshape("part", value, shape_of(output) or ()))


def _is_only_parted(root: ir.Value) -> bool:
    """Whether everything that reads ``root`` takes parts of it, and none is what the graph gives out."""
    pending = [root]
    while pending:
        value = pending.pop()
        if value.is_graph_output():
            return False
        for reader in value.consumers():
            if reader.op_type in _PARTING:
                continue
            if reader.op_type not in _MOVING:
                return False
            pending += reader.outputs
    return True


def _part(value: ir.Value) -> _Part | None:
    """The part that ``value`` is; None where it is no choice of whole channels of a projection, or has none of it to
    itself.
    """
    try:
        origin = trace(value)
    except Untraceable:
        return None
    if origin.relu or origin.scale != 1.0 or not origin.index.size or (origin.index < 0).any():
        return None
    producer = origin.root.producer()
    if producer is not None and producer.op_type == "Conv":
        return _part_of_convolution(origin)
    layer = linear_of_gemm(producer)
    return None if layer is None else _part_of_linear(origin, layer)


def _part_of_convolution(found: Trace) -> _OfConvolution | None:
    shape = shape_of(found.root)
    if shape is None or len(shape) != 4 or shape[0] != 1:
        return None
    tokens = shape[2] * shape[3]
    flat = found.index.reshape(-1)
    if flat.size % tokens:
        return None
    table = flat[::tokens] // tokens
    whole = (table[:, None] * tokens + np.arange(tokens)).reshape(-1)
    if not np.array_equal(flat, whole) or len(table) == shape[1]:
        return None
    return _OfConvolution(found.root, table)


def _part_of_linear(found: Trace, layer: Linear) -> _OfLinear | None:
    width, rows = len(layer.weight), (shape_of(found.root) or (0,))[0]
    index = found.index.squeeze()
    # Every axis must either go through the rows, in their order, or through the chosen channels.
    over_rows = [axis for axis in range(index.ndim) if np.diff(index // width, axis=axis).any()]
    order = over_rows + [axis for axis in range(index.ndim) if axis not in over_rows]
    flat = index.transpose(order).reshape(-1)
    table = flat[: flat.size // rows] % width
    whole = (np.arange(rows)[:, None] * width + table).reshape(-1)
    if not np.array_equal(flat, whole) or len(table) == width:
        return None
    sizes = tuple(index.shape[axis] for axis in order)
    return _OfLinear(found.root, layer, table, sizes, tuple(int(place) for place in np.argsort(order)))
