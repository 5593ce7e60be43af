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
from converters.passes.pool_border import Edges, has_border, padded_by_zeros, window_edges, without_border
from converters.passes.tools.evaluate import opset_of, plane_through
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
        if not has_border(node):
            return None
        edges = window_edges(node)
        if set(node.attributes.get_ints("dilations", [1])) != {1}:
            raise Refused("it is dilated")
        return lambda emit: replace_value(node.outputs[0], _padded(emit, node, edges))


def _padded(emit: Emitter, node: ir.Node, edges: Edges) -> ir.Value:
    source, pooled = node.inputs[0], shape_of(node.outputs[0])
    shape = shape_of(source)
    assert source is not None and shape is not None and pooled is not None
    padded = padded_by_zeros(emit, source, edges) if any(edges) else source
    mean = emit.op("AveragePool", "pooled", [padded], pooled, **without_border(node))
    factors = _of_ones(node, shape[2:]) / _shares(node, edges, shape[2:], pooled[2:])
    if np.allclose(factors, 1, rtol=1e-6):  # of float32 means
        return mean
    return emit.op("Mul", "counted", [mean, emit.constant("factors", factors.astype(np.float32)[None, None])], pooled)


def _of_ones(node: ir.Node, size: tuple[int, ...]) -> Array:
    """What the op gives for a map of ones, [H, W] in float64."""
    import onnx_ir as ir

    single = ir.to_proto(node)
    single.input[0], single.output[0] = "x", "y"
    return plane_through(single, opset_of(node), np.ones(size)).astype(np.float64)


def _shares(node: ir.Node, edges: Edges, size: tuple[int, ...], pooled: tuple[int, ...]) -> Array:
    """The part of each window that lies on the map, [H, W] of the result."""
    window, strides = node.attributes.get_ints("kernel_shape", []), node.attributes.get_ints("strides", [1, 1])
    parts = []
    for axis in range(2):
        starts = np.arange(pooled[axis]) * strides[axis] - edges[axis]
        inside = np.minimum(starts + window[axis], size[axis]) - np.maximum(starts, 0)
        parts.append(inside / window[axis])
    return np.outer(*parts)
