"""Dynamic-range int8: weights of convolutions and linear layers in int8 a channel, activations quantised as they come.

Only ops whose hybrid form XNNPACK takes are changed. A hybrid DEPTHWISE_CONV_2D is not among them: in stock conversions
it divides the model and makes it slower than fp32.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from converters.quantize.delegated import hybrid_refusal
from converters.quantize.plan import OpPlan, QuantisedModel
from converters.quantize.weights import quantise_weights
from converters.tflite.editor import FlatbufferEditor
from evit_mobile.specs import Precision
from evit_mobile.tflite.file import Tflite
from evit_mobile.tflite.graph import Graph, Op, graph_of

#: The version of each op that brought its hybrid form with a scale a channel.
HYBRID_VERSIONS = {"CONV_2D": 5, "FULLY_CONNECTED": 12}


def quantise_dynamic(model: Tflite) -> QuantisedModel:
    """The float32 ``model`` with int8 weights where the delegate takes them."""
    tree = model.editable_tree()
    graph, editor = graph_of(tree, model.name), FlatbufferEditor(tree)
    plan = []
    for op, operator in zip(graph.ops, editor.subgraph.operators, strict=True):
        refusal = hybrid_refusal(op, graph)
        if refusal is None:
            make_hybrid(editor, graph, op, operator)
        precision = Precision.FP32 if refusal else Precision.DYNAMIC
        name = graph.tensors[op.outputs[0]].name if op.outputs else ""
        plan.append(OpPlan(op.index, op.type, name, precision, refusal or "its hybrid form is delegated"))
    editor.drop_unused_data()
    return QuantisedModel(tree, plan)


def make_hybrid(editor: FlatbufferEditor, graph: Graph, op: Op, operator: Any) -> None:
    """Give ``operator``, which is ``op`` of ``graph``, int8 weights with a scale a channel; its bias stays float."""
    weights = graph.tensors[op.inputs[1]].values()
    assert weights is not None
    quantised = quantise_weights(weights, op.type)
    scales = editor.quantisation(quantised.scales, [0] * len(quantised.scales), quantised.axis)
    operands = np.array(operator.inputs, np.int32)
    operands[1] = editor.add_constant(op.inputs[1], quantised.values, "INT8", scales)
    operator.inputs = operands
    operator.opcodeIndex = editor.opcode(op.type, max(op.version, HYBRID_VERSIONS[op.type]))
