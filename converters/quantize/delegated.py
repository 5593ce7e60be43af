"""What XNNPACK takes in int8, as LiteRT 2.1.2 and 2.3.0 were seen to do; the tests ask them again."""

from __future__ import annotations

import math

from evit_mobile.tflite.graph import Graph, Op

#: Ops that move or choose values: their operands and results must share one scale and zero point.
SHARED = frozenset(
    {
        "RESHAPE",
        "TRANSPOSE",
        "PAD",
        "SLICE",
        "STRIDED_SLICE",
        "SPLIT",
        "MAX_POOL_2D",
        "RESIZE_BILINEAR",
        "CONCATENATION",
        "EXPAND_DIMS",
        "SQUEEZE",
        "DEPTH_TO_SPACE",
    }
)
#: Ops with constant weights: int8 a channel, int32 bias.
WEIGHTED = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"})
#: Those of them that have a delegated form with float activations.
HYBRID = frozenset({"CONV_2D", "FULLY_CONNECTED"})
#: Ops that compute on maps with a scale of their own for each operand.
ELEMENTWISE = frozenset({"ADD", "SUB", "MUL"})
#: Clamps, which in int8 are what a range cuts off: no op where it is the operand's range already, else a QUANTIZE from
#: range to range. The op itself leaves the delegate in int8.
CLAMPS = {"RELU": (0.0, math.inf), "RELU6": (0.0, 6.0)}
#: Functions of one value. Between a DEQUANTIZE and a QUANTIZE that nothing else reads, XNNPACK makes one table of 256
#: results of the three: on a Cortex-A76 0.6 instructions a value, where x · relu6(x + 3) in int8 takes 4.5.
TABLE = frozenset({"HARD_SWISH", "LOGISTIC", "TANH", "GELU", "ELU"})
#: Functions that are constant for everything below a value: int8 need not tell what lies there.
FLAT_BELOW = {"HARD_SWISH": -3.0} | {name: low for name, (low, _) in CLAMPS.items()}
#: TFLite's number of the fused activations that int8 ops can have: their clamp is part of the rounding.
FUSED = {0: None, 1: (0.0, None), 3: (0.0, 6.0)}

#: XNNPACK's bounds on input scale / output scale of ADD and SUB, and on the product of the input scales / output scale
#: of MUL and of convolutions.
ADD_RATIO = (2.0**-10, 2.0**8)
PRODUCT_RATIO = (2.0**-16, 2.0**8)
#: Its bounds on input scale / output scale of a QUANTIZE from int8 to int8.
REQUANTISE_RATIO = (2.0**-8, 2.0**7)


def int8_refusal(op: Op, graph: Graph) -> str | None:
    """Why the delegate has no int8 form of ``op``, whatever its values; None where it has."""
    computed = [graph.tensors[index] for index in op.inputs if not graph.tensors[index].constant]
    if op.options.get("fusedActivationFunction", 0) not in FUSED:
        return f"{op.type} with this activation has no delegated int8 form"
    if op.type in WEIGHTED:
        weights_constant = len(op.inputs) > 1 and all(graph.tensors[index].constant for index in op.inputs[1:])
        return None if weights_constant else "its weights are computed, and int8 takes constant ones"
    if op.type == "MEAN":
        axes = graph.tensors[op.inputs[1]].values()
        spatial = axes is not None and sorted(axes.reshape(-1)) == [1, 2] and len(computed[0].shape) == 4
        return None if spatial else "an int8 MEAN is delegated over height and width only"
    if op.type in ELEMENTWISE:
        return (
            None
            if all(len(tensor.shape) <= 4 for tensor in computed)
            else f"{op.type} in int8 is delegated up to rank 4"
        )
    return None if op.type in SHARED | TABLE | CLAMPS.keys() else f"{op.type} has no delegated int8 form"


def hybrid_refusal(op: Op, graph: Graph) -> str | None:
    """Why ``op`` gets no hybrid form (float activations, int8 weights a channel); None where it may get it."""
    if op.type == "DEPTHWISE_CONV_2D":
        return "its hybrid form leaves the delegate"
    if op.type not in HYBRID:
        return "it has no weights"
    weights, activations = graph.tensors[op.inputs[1]], graph.tensors[op.inputs[0]]
    if not weights.constant or activations.constant:
        return "its weights are computed"
    if op.type == "CONV_2D" and any(other.type == "PAD" and op.inputs[0] in other.outputs for other in graph.ops):
        # Of a first layer on an image, whose three channels it copies one by one, it would take more than is saved.
        return "the delegate folds the PAD before it into its other forms, not into the hybrid one"
    return None
