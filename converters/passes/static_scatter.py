"""A part of a map that is written over, as slices and a concatenation.

Given: ScatterND, or ScatterElements, whose constant indices form a box: what ``x[:, :, 1:, 2:5] = y`` and ``x[:, 1:] +=
y`` are exported as. SCATTER_ND leaves the delegate, and carries an index for each number it writes. Result: the new
part between slices of the old map; the new part alone where it is the whole; a Pad where the old map is one number
everywhere.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from converters.passes.base import NodePass, Refused, Rewrite
from converters.passes.tools.graph import Emitter, constant_of, replace_value, shape_of
from converters.passes.tools.indices import counted_from_the_start
from evit_mobile.arrays import Array
from evit_mobile.specs import Target

if TYPE_CHECKING:
    import onnx_ir as ir

_OUTSIDE = "it writes outside the map"
_UNORDERED = "the places that are written to are no box, or are written in another order"


@dataclass(frozen=True)
class Box:
    """Places ``starts`` to ``starts + sizes`` of a map, one number an axis."""

    starts: tuple[int, ...]
    sizes: tuple[int, ...]


class StaticScatter(NodePass):
    """Rewrites scatters to constant places that form a box."""

    name = "static-scatter"
    reason = "SCATTER_ND leaves the delegate; slices around what is written do not"
    op_types = frozenset({"ScatterND", "ScatterElements"})

    def match(self, node: ir.Node, target: Target) -> Rewrite | None:
        import onnx_ir as ir

        data, indices, updates = node.inputs[0], constant_of(node.inputs[1]), node.inputs[2]
        shape, written = shape_of(data), shape_of(updates)
        if data is None or updates is None or data.dtype != ir.DataType.FLOAT:
            return None
        if node.attributes.get_string("reduction", "none") != "none" or indices is None or not indices.size:
            return None
        if shape is None or written is None:
            raise Refused("its shape is not static")
        axis = node.attributes.get_int("axis", 0) % len(shape)
        is_nd = node.op_type == "ScatterND"
        places = counted_from_the_start(indices, shape[: indices.shape[-1]] if is_nd else shape[axis])
        if places is None:
            raise Refused(_OUTSIDE)
        box = _box_of_tuples(places, shape) if is_nd else _box_along(places, axis, shape)
        if any(not 0 <= start <= start + size <= end for start, size, end in zip(box.starts, box.sizes, shape)):
            raise Refused(_OUTSIDE)

        def rewrite(emit: Emitter) -> None:
            part = _reshaped(emit, updates, box.sizes)
            replace_value(node.outputs[0], _replaced(emit, data, part, box))

        return rewrite


def _box_of_tuples(tuples: Array, shape: tuple[int, ...]) -> Box:
    """Of ScatterND: ``tuples`` [..., k] are places along the first k axes, the others are written whole."""
    count = tuples.shape[-1]
    places = tuples.reshape(-1, count)
    starts, sizes = places.min(0), np.ptp(places, 0) + 1
    if math.prod(sizes.tolist()) != len(places):
        raise Refused(_UNORDERED)
    if not np.array_equal(np.indices(sizes).reshape(count, -1).T + starts, places):
        raise Refused(_UNORDERED)
    return Box((*starts.tolist(), *[0] * (len(shape) - count)), (*sizes.tolist(), *shape[count:]))


def _box_along(places: Array, axis: int, shape: tuple[int, ...]) -> Box:
    """Of ScatterElements: each number is written to its own place, but along ``axis`` to ``places``."""
    start, size = int(places.min()), places.shape[axis]
    line = np.arange(start, start + size).reshape([-1 if place == axis else 1 for place in range(len(shape))])
    if not np.array_equal(np.broadcast_to(line, places.shape), places):
        raise Refused(_UNORDERED)
    return Box(tuple(start if place == axis else 0 for place in range(len(shape))), places.shape)


def _reshaped(emit: Emitter, value: ir.Value, shape: tuple[int, ...]) -> ir.Value:
    constant = constant_of(value)
    return emit.reshape("part", value, shape) if constant is None else emit.constant("part", constant.reshape(shape))


def _replaced(emit: Emitter, data: ir.Value, part: ir.Value, box: Box) -> ir.Value:
    """``data`` with ``part`` in place of ``box``."""
    shape, constant = shape_of(data), constant_of(data)
    assert shape is not None
    if box.sizes == shape:
        return part
    if constant is not None and np.all(constant == constant.flat[0]):
        after = [size - start - length for size, start, length in zip(shape, box.starts, box.sizes, strict=True)]
        return emit.pad("around", part, [*box.starts, *after], float(constant.flat[0]))
    axis = next(place for place, size in enumerate(shape) if box.sizes[place] != size)
    start, end = box.starts[axis], box.starts[axis] + box.sizes[axis]
    starts = tuple(0 if place == axis else begin for place, begin in enumerate(box.starts))
    kept = tuple(box.sizes[axis] if place == axis else size for place, size in enumerate(shape))
    inner = (
        part if kept == box.sizes else _replaced(emit, _cut(emit, data, axis, start, end), part, Box(starts, box.sizes))
    )
    parts = [_cut(emit, data, axis, 0, start)] if start else []
    parts += [inner, *([_cut(emit, data, axis, end, shape[axis])] if end < shape[axis] else [])]
    return emit.op("Concat", "joined", parts, shape, axis=axis)


def _cut(emit: Emitter, data: ir.Value, axis: int, start: int, end: int) -> ir.Value:
    constant = constant_of(data)
    if constant is None:
        return emit.slice("kept", data, axis, start, end)
    return emit.constant("kept", np.take(constant, range(start, end), axis))
