"""The mean of a large map as a mean of tiles' means.

Given: ReduceMean over height and width, or GlobalAveragePool, of [1, C, H, W] with many positions.
Result: AveragePool over tiles of about √H x √W that fill the map, then the mean as it was, over the tiles.

TFLite's own MEAN kernel adds up one float after the other, which loses up to N · 2⁻²⁴ of a sum of N: 7.5e-4 over
112x112. On a flat map all roundings point one way and the loss is taken in full. With tiles it is about 2 √N · 2⁻²⁴.
XNNPACK adds in a tree and needs no help, but not every user has it on. In half precision the digits do not matter, and
the tiles would do harm: XNNPACK takes the sum of a MEAN in single precision, and that of a pool in half, which ends at
65504.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from converters.passes.base import NodePass, Refused, Rewrite
from converters.passes.tools.graph import Emitter, axes_of, shape_of
from evit_mobile.specs import Precision, Target

if TYPE_CHECKING:
    import onnx_ir as ir

#: Up to this many positions a sum loses at most a third of the 1e-4 that verification allows (512 · 2⁻²⁴ = 3e-5).
_POSITIONS = 512


class SpatialMean(NodePass):
    """Puts an average pooling before the mean over height and width of a large map."""

    name = "spatial-mean"
    reason = "TFLite's MEAN adds floats one by one, and loses the fourth digit over a 112x112 map"
    op_types = frozenset({"ReduceMean", "GlobalAveragePool"})

    def match(self, node: ir.Node, target: Target) -> Rewrite | None:
        shape = shape_of(node.inputs[0])
        if shape is None or not _is_spatial_mean(node, shape) or shape[2] * shape[3] <= _POSITIONS:
            return None
        if target.precision is Precision.FP16:
            raise Refused("XNNPACK adds up the places of a pool in half precision, and those of a mean in single")
        if target.precision is Precision.INT8:
            raise Refused("an int8 AVERAGE_POOL_2D leaves the delegate, and int8 sums are exact")
        tile = [_divisor_near_root(size) for size in shape[2:]]
        if max(tile[0] * tile[1], shape[2] * shape[3] // (tile[0] * tile[1])) > _POSITIONS:
            raise Refused(f"no tiles of a fitting size fill {shape[2]}x{shape[3]}")
        pooled = (*shape[:2], shape[2] // tile[0], shape[3] // tile[1])

        def rewrite(emit: Emitter) -> None:
            tiles = emit.op("AveragePool", "tiles", [node.inputs[0]], pooled, kernel_shape=tile, strides=tile)
            node.replace_input_with(0, tiles)

        return rewrite


def _is_spatial_mean(node: ir.Node, shape: tuple[int, ...]) -> bool:
    if len(shape) != 4:
        return False
    return node.op_type == "GlobalAveragePool" or (node.op_type == "ReduceMean" and axes_of(node, 4) == (2, 3))


def _divisor_near_root(size: int) -> int:
    return min(
        (divisor for divisor in range(1, size + 1) if size % divisor == 0), key=lambda divisor: abs(divisor - size**0.5)
    )
