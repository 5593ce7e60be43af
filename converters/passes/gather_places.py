"""Places along several axes as places along one.

Given: GatherND with constant indices, as the newer exporter writes ``x[:, [2, 0]]``. GATHER_ND leaves the delegate, and
the lowering loses the order of its axes. Result: the indexed axes as one, and a Gather along it, which the lowering
writes as slices or as a product.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from converters.passes.base import NodePass, Refused, Rewrite
from converters.passes.tools.graph import Emitter, constant_of, replace_value, shape_of
from converters.passes.tools.indices import counted_from_the_start
from evit_mobile.specs import Target

if TYPE_CHECKING:
    import onnx_ir as ir


class GatherPlaces(NodePass):
    """Rewrites GatherND with constant indices."""

    name = "gather-places"
    reason = "GATHER_ND leaves the delegate; a gather along one axis can be written with delegated ops"
    op_types = frozenset({"GatherND"})

    def match(self, node: ir.Node, target: Target) -> Rewrite | None:
        import onnx_ir as ir

        data, indices = node.inputs[0], constant_of(node.inputs[1])
        if data is None or data.dtype != ir.DataType.FLOAT or indices is None:
            return None
        shape, batch = shape_of(data), node.attributes.get_int("batch_dims", 0)
        if shape is None or batch:
            raise Refused("its shape is not static, or its first axes are taken as a batch")
        indexed, rest = shape[: indices.shape[-1]], shape[indices.shape[-1] :]
        places = counted_from_the_start(indices, indexed)
        if places is None:
            raise Refused("it reads outside the map")
        flat_places = np.ravel_multi_index(tuple(np.moveaxis(places, -1, 0)), indexed)

        def rewrite(emit: Emitter) -> None:
            flat = emit.reshape("flat", data, (math.prod(indexed), *rest))
            numbers = emit.constant("places", np.asarray(flat_places, np.int64))
            gathered = emit.op("Gather", "gathered", [flat, numbers], (*flat_places.shape, *rest), axis=0)
            replace_value(node.outputs[0], gathered)

        return rewrite
