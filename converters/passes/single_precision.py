"""Values in double precision, in single precision.

Given: casts to DOUBLE, constants of DOUBLE and what is computed of them. TFLite's kernels have no arithmetic in it.
Result: the same in FLOAT. The check of the finished file says whether that was enough.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from converters.passes.base import PassResult
from converters.passes.tools.graph import replace_value
from evit_mobile.specs import Target

if TYPE_CHECKING:
    import onnx_ir as ir


class SinglePrecision:
    """Turns every DOUBLE within a graph into FLOAT; a graph with an input or output of DOUBLE stays."""

    name = "single-precision"
    reason = "TFLite's kernels do not compute in double precision"

    def __call__(self, model: ir.Model, target: Target) -> PassResult:
        import onnx_ir as ir

        result = PassResult()
        values = [*model.graph.initializers.values(), *(value for node in model.graph for value in node.outputs)]
        if not any(value.dtype == ir.DataType.DOUBLE for value in values):
            return result
        if any(value.dtype == ir.DataType.DOUBLE for value in [*model.graph.inputs, *model.graph.outputs]):
            result.decline("the graph", "an input or output is in double precision")
            return result
        for value in values:
            if value.dtype == ir.DataType.DOUBLE:
                value.dtype = ir.DataType.FLOAT
                if value.const_value is not None:
                    value.const_value = ir.tensor(value.const_value.numpy().astype(np.float32), name=value.name)
                result.fired += 1
        for node in model.graph:
            for name, attribute in node.attributes.items():
                if name == "to" and attribute.as_int() == ir.DataType.DOUBLE:
                    node.attributes[name] = ir.AttrInt64(name, int(ir.DataType.FLOAT))
                elif attribute.type == ir.AttributeType.TENSOR and attribute.as_tensor().dtype == ir.DataType.DOUBLE:
                    single = ir.tensor(attribute.as_tensor().numpy().astype(np.float32))
                    node.attributes[name] = ir.AttrTensor(name, single)
        for node in [node for node in model.graph if node.op_type == "Cast"]:
            source = node.inputs[0]
            if source is not None and source.dtype == node.outputs[0].dtype == ir.DataType.FLOAT:
                replace_value(node.outputs[0], source)
        return result
