"""Padding of an average pool by zeros, and what it counts by a factor for each place.

Given: AveragePool with padding, or with last windows that hang over the border, of a map [1, C, H, W]. Its padding is
lowered to PADV2, which leaves the delegate.
Result: Pad by zeros, AveragePool without padding and, where windows count fewer places than they have, a product with
the quotient of both, which ONNX Runtime's own result for a map of ones tells.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from converters.passes.base import NodePass, Refused, Rewrite
from converters.passes.tools.graph import Emitter, replace_value, shape_of
from evit_mobile.arrays import Array
from evit_mobile.specs import Target

if TYPE_CHECKING:
    import onnx_ir as ir


class PaddedAveragePool(NodePass):
    """Rewrites AveragePool with padding."""

    name = "padded-average-pool"
    reason = "padding is lowered to PADV2, which leaves the delegate"
    op_types = frozenset({"AveragePool"})

    def match(self, node: ir.Node, target: Target) -> Rewrite | None:
        attributes = node.attributes
        if not any(attributes.get_ints("pads", [0])) and not attributes.get_int("ceil_mode", 0):
            return None
        shape, pooled = shape_of(node.inputs[0]), shape_of(node.outputs[0])
        static = shape is not None and pooled is not None and attributes.get_string("auto_pad", "NOTSET") == "NOTSET"
        if not static or shape is None or pooled is None or len(shape) != 4:
            raise Refused("it is not a static [1, C, H, W] with its padding said")
        if set(attributes.get_ints("dilations", [1])) != {1}:
            raise Refused("it is dilated")
        edges = _window_edges(node, shape, pooled)
        return lambda emit: replace_value(node.outputs[0], _padded(emit, node, edges, pooled))


def _window_edges(node: ir.Node, shape: tuple[int, ...], pooled: tuple[int, ...]) -> tuple[int, int, int, int]:
    """Rows and columns that the windows of a pool reach beyond its map [1, C, H, W]: top, left, bottom, right.

    Raises:
        Refused: a window lies outside of the map.
    """
    attributes = node.attributes
    window, strides = attributes.get_ints("kernel_shape", []), attributes.get_ints("strides", [1, 1])
    begins = list(attributes.get_ints("pads", [0] * 4))[:2]
    ends = []
    for axis in range(2):
        last = (pooled[2 + axis] - 1) * strides[axis] - begins[axis]
        if begins[axis] >= window[axis] or last >= shape[2 + axis]:
            raise Refused("a window lies outside of the map")
        ends.append(max(last + window[axis] - shape[2 + axis], 0))
    return begins[0], begins[1], ends[0], ends[1]


def _padded_by_zeros(emit: Emitter, value: ir.Value, edges: tuple[int, int, int, int]) -> ir.Value:
    """A map [1, C, H, W] with zeros around it: top, left, bottom, right."""
    shape, (top, left, bottom, right) = shape_of(value), edges
    assert shape is not None
    padded = (*shape[:2], shape[2] + top + bottom, shape[3] + left + right)
    pads = [0, 0, top, left, 0, 0, bottom, right]
    if emit.opset < 11:
        return emit.op("Pad", "padded", [value], padded, mode="constant", pads=pads)
    return emit.op("Pad", "padded", [value, emit.ints("pads", pads)], padded, mode="constant")


def _unpadded(node: ir.Node) -> dict[str, ir.Attr]:
    """The attributes of a pool but those of its padding."""
    return {name: item for name, item in node.attributes.items() if name not in ("pads", "auto_pad", "ceil_mode")}


def _padded(emit: Emitter, node: ir.Node, edges: tuple[int, int, int, int], pooled: tuple[int, ...]) -> ir.Value:
    source = node.inputs[0]
    shape = shape_of(source)
    assert source is not None and shape is not None
    padded = _padded_by_zeros(emit, source, edges) if any(edges) else source
    mean = emit.op("AveragePool", "pooled", [padded], pooled, **_unpadded(node))
    factors = _of_ones(node, shape[2:]) / _shares(node, edges, shape[2:], pooled[2:])
    if np.allclose(factors, 1, rtol=1e-6):  # of float32 means
        return mean
    return emit.op("Mul", "counted", [mean, emit.constant("factors", factors.astype(np.float32)[None, None])], pooled)


def _of_ones(node: ir.Node, size: tuple[int, ...]) -> Array:
    """What the op gives for a map of ones, [H, W] in float64."""
    import onnx
    import onnx_ir as ir

    from converters.onnx_session import open_session

    single = ir.to_proto(node)
    single.input[0], single.output[0] = "x", "y"
    version = node.graph.opset_imports[""] if isinstance(node.graph, ir.Graph) else 18
    kind = onnx.TensorProto.FLOAT
    graph = onnx.helper.make_graph(
        [single], "pool", [onnx.helper.make_tensor_value_info("x", kind, [1, 1, *size])],
        [onnx.helper.make_tensor_value_info("y", kind, None)],
    )  # fmt: skip
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", version)], ir_version=8)
    result: Array = open_session(model)({"x": np.ones((1, 1, *size), np.float32)})["y"][0, 0]
    return result.astype(np.float64)


def _shares(node: ir.Node, edges: tuple[int, int, int, int], size: tuple[int, ...], pooled: tuple[int, ...]) -> Array:
    """The part of each window that lies on the map, [H, W] of the result."""
    window, strides = node.attributes.get_ints("kernel_shape", []), node.attributes.get_ints("strides", [1, 1])
    parts = []
    for axis in range(2):
        starts = np.arange(pooled[axis]) * strides[axis] - edges[axis]
        inside = np.minimum(starts + window[axis], size[axis]) - np.maximum(starts, 0)
        parts.append(inside / window[axis])
    return np.outer(*parts)
