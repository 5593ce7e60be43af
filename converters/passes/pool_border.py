"""The border of a pool over a map [1, C, H, W]."""

from __future__ import annotations

from typing import TYPE_CHECKING

from converters.passes.base import Refused
from converters.passes.tools.graph import Emitter, shape_of

if TYPE_CHECKING:
    import onnx_ir as ir

#: Attributes of the border.
_BORDER = frozenset({"pads", "auto_pad", "ceil_mode"})
#: Rows and columns: top, left, bottom, right.
Edges = tuple[int, int, int, int]


def has_border(node: ir.Node) -> bool:
    """Whether windows of the pool may reach beyond its map."""
    return any(node.attributes.get_ints("pads", [0])) or bool(node.attributes.get_int("ceil_mode", 0))


def window_edges(node: ir.Node) -> Edges:
    """How far the windows of a pool reach beyond its map; padding that no window reaches does not count.

    Raises:
        Refused: the map or its padding is not static, or a window lies outside of the map.
    """
    attributes, shape, pooled = node.attributes, shape_of(node.inputs[0]), shape_of(node.outputs[0])
    if shape is None or pooled is None or len(shape) != 4 or attributes.get_string("auto_pad", "NOTSET") != "NOTSET":
        raise Refused("it is not a static [1, C, H, W] with its padding said")
    window, strides = attributes.get_ints("kernel_shape", []), attributes.get_ints("strides", [1, 1])
    dilations, begins = attributes.get_ints("dilations", [1, 1]), attributes.get_ints("pads", [0] * 4)[:2]
    ends = []
    for axis in range(2):
        last = (pooled[2 + axis] - 1) * strides[axis] - begins[axis]
        if begins[axis] >= window[axis] or last >= shape[2 + axis]:
            raise Refused("a window lies outside of the map")
        ends.append(max(last + (window[axis] - 1) * dilations[axis] + 1 - shape[2 + axis], 0))
    return begins[0], begins[1], ends[0], ends[1]


def padded_by_zeros(emit: Emitter, value: ir.Value, edges: Edges) -> ir.Value:
    """A map [1, C, H, W] with zeros around it."""
    top, left, bottom, right = edges
    return emit.pad("padded", value, [0, 0, top, left, 0, 0, bottom, right])


def without_border(node: ir.Node) -> dict[str, ir.Attr]:
    """The attributes of a pool but those of its border."""
    return {name: item for name, item in node.attributes.items() if name not in _BORDER}
