"""A max pool whose window has holes.

Given: MaxPool of a map [1, C, H, W] with dilations and without padding, which ``PaddedMaxPool`` has put before it;
TFLite's has no dilations.
Result: the largest of as many slices of the map, first along its height, then along its width; then every second place,
or every third, where it has strides.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from converters.passes.base import NodePass, Refused, Rewrite
from converters.passes.pool_border import has_border
from converters.passes.tools.graph import Emitter, replace_value, shape_of
from evit_mobile.specs import Target

if TYPE_CHECKING:
    import onnx_ir as ir

#: Places of a window along an axis up to which slices are made.
_MOST_PLACES = 16


class DilatedMaxPool(NodePass):
    """Rewrites MaxPool with dilations."""

    name = "dilated-max-pool"
    reason = "TFLite's max pool has no dilations"
    op_types = frozenset({"MaxPool"})

    def match(self, node: ir.Node, target: Target) -> Rewrite | None:
        dilations = node.attributes.get_ints("dilations", [1])
        if set(dilations) == {1}:
            return None
        window, value = node.attributes.get_ints("kernel_shape", []), node.inputs[0]
        shape, after = shape_of(value), shape_of(node.outputs[0])
        if value is None or shape is None or after is None or len(shape) != 4 or len(node.outputs) != 1:
            raise Refused("it is no static [1, C, H, W], or it gives indices too")
        if has_border(node) or max(window) > _MOST_PLACES:
            raise Refused("it pads, or its window is too large")
        strides = node.attributes.get_ints("strides", [1, 1])

        def rewrite(emit: Emitter) -> None:
            largest = value
            for axis, places, step in zip((2, 3), window, dilations):
                largest = _largest(emit, largest, axis, places, step)
            replace_value(node.outputs[0], _strided(emit, largest, strides, after))

        return rewrite


def _largest(emit: Emitter, value: ir.Value, axis: int, places: int, step: int) -> ir.Value:
    size = (shape_of(value) or ())[axis] - (places - 1) * step
    parts = [emit.slice("places", value, axis, place * step, place * step + size) for place in range(places)]
    largest = parts[0]
    for part in parts[1:]:
        largest = emit.op("Max", "largest", [largest, part], shape_of(part) or ())
    return largest


def _strided(emit: Emitter, value: ir.Value, strides: Sequence[int], after: tuple[int, ...]) -> ir.Value:
    if set(strides) == {1}:
        return value
    ends = [(size - 1) * step + 1 for size, step in zip(after[2:], strides)]
    bounds = [emit.ints("starts", [0, 0]), emit.ints("ends", ends), emit.ints("axes", [2, 3])]
    return emit.op("Slice", "kept", [value, *bounds, emit.ints("steps", strides)], after)
