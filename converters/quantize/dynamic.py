"""Dynamic-range int8: weights of convolutions and linear layers in int8 a channel, activations quantised as they come.

Only ops whose hybrid form XNNPACK takes are changed. A hybrid DEPTHWISE_CONV_2D is not among them: in stock conversions it divides the
model and makes it slower than fp32.
"""

from __future__ import annotations

import numpy as np

from converters.metadata import read_model, write_model
from converters.quantize.flatbuffer import FlatbufferEditor
from converters.quantize.plan import OpPlan
from converters.quantize.weights import quantise_weights
from converters.tflite_graph import Graph, Op, graph_of
from evit_mobile.specs import Precision

#: The version of each op that brought its hybrid form with a scale a channel.
HYBRID_VERSIONS = {"CONV_2D": 5, "FULLY_CONNECTED": 12}


def quantise_dynamic(content: bytes) -> tuple[bytes, list[OpPlan]]:
    """The float32 .tflite ``content`` with int8 weights where the delegate takes them, and what was decided for each op."""
    model = read_model(content)
    graph, editor = graph_of(model), FlatbufferEditor(model)
    plan = []
    for op, operator in zip(graph.ops, editor.subgraph.operators, strict=True):
        refusal = _refusal(op, graph)
        name = graph.tensors[op.outputs[0]].name if op.outputs else ""
        if refusal is not None:
            plan.append(OpPlan(op.index, op.type, name, Precision.FP32, refusal))
            continue
        weights = graph.tensors[op.inputs[1]].values()
        assert weights is not None
        quantised = quantise_weights(weights, op.type)
        scales = editor.quantisation(quantised.scales, [0] * len(quantised.scales), quantised.axis)
        operands = np.array(operator.inputs, np.int32)
        operands[1] = editor.add_constant(op.inputs[1], quantised.values, "INT8", scales)
        operator.inputs = operands
        operator.opcodeIndex = editor.opcode(op.type, max(op.version, HYBRID_VERSIONS[op.type]))
        plan.append(OpPlan(op.index, op.type, name, Precision.DYNAMIC, "its hybrid form is delegated"))
    editor.drop_unused_data()
    return write_model(model), plan


def _refusal(op: Op, graph: Graph) -> str | None:
    if op.type == "DEPTHWISE_CONV_2D":
        return "its hybrid form leaves the delegate"
    if op.type not in HYBRID_VERSIONS:
        return "it has no weights"
    if not graph.tensors[op.inputs[1]].constant or graph.tensors[op.inputs[0]].constant:
        return "its weights are computed"
    return None
