"""The grid of a spatial transformer as a product.

Given: AffineGrid(theta [N, d, d + 1], size) of a constant size; TFLite has no such op, and ONNX writes it by branches.
Result: theta times the coordinates of the places, which are constants, with a row of ones for the shift. With
``align_corners`` -1 and 1 are the centres of the outermost places, else their outer borders.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from converters.passes.base import NodePass, Refused, Rewrite
from converters.passes.tools.graph import Emitter, constant_of, replace_value, shape_of
from evit_mobile.arrays import Array
from evit_mobile.specs import Target

if TYPE_CHECKING:
    import onnx_ir as ir


class AffineGrid(NodePass):
    """Rewrites AffineGrid."""

    name = "affine-grid"
    reason = "TFLite has no op for it"
    op_types = frozenset({"AffineGrid"})

    def match(self, node: ir.Node, target: Target) -> Rewrite | None:
        theta, shape, size = node.inputs[0], shape_of(node.inputs[0]), constant_of(node.inputs[1])
        if theta is None or shape is None or size is None:
            raise Refused("its size is computed")
        batch, *places = (int(number) for number in np.delete(size, 1))
        aligned = node.attributes.get_int("align_corners", 0)

        def along(count: int) -> Array:
            if aligned:
                return np.linspace(-1, 1, count) if count > 1 else np.zeros(1)
            return (2 * np.arange(count) + 1) / count - 1

        grids = np.meshgrid(*map(along, places), indexing="ij")
        # x, the last axis, comes first.
        rows = np.stack([*(grid.reshape(-1) for grid in reversed(grids)), np.ones(math.prod(places))])

        def rewrite(emit: Emitter) -> None:
            coordinates = emit.constant("coordinates", rows.astype(np.float32))
            product = emit.op("MatMul", "transformed", [theta, coordinates], (batch, len(places), rows.shape[1]))
            moved = emit.transpose("places_first", product, (0, 2, 1))
            replace_value(node.outputs[0], emit.reshape("grid", moved, (batch, *places, len(places))))

        return rewrite
