"""int8 by the scales that a quantised source brings: what it rounds is rounded in the file, but for divisors.

The float network of the source is rewritten and lowered like any other, so names and layouts change, and some of its
values are no longer computed. A tensor of the file gets the scale and zero point of the value that it holds, which is
found by the numbers. An op that reads and gives such tensors alone is int8 where the delegate has that form of it. All
others are float, behind a DEQUANTIZE and before a QUANTIZE, which is what the source says of them too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from converters.quantize.delegated import (
    CLAMPS,
    ELEMENTWISE,
    REQUANTISE_RATIO,
    SHARED,
    TABLE,
    WEIGHTED,
    int8_refusal,
)
from converters.quantize.parameters import refused_scales
from converters.quantize.plan import OpPlan, QuantisedModel, denominators
from converters.quantize.ranges import Parameters, parameters_of
from converters.quantize.rewrite import Rewriter
from evit_mobile.specs import IoType, Precision

if TYPE_CHECKING:
    from collections.abc import Mapping

    from converters.quantize.qdq import QuantisedGraph
    from converters.source.load import Source
    from evit_mobile.tflite.file import Tflite
    from evit_mobile.tflite.graph import Graph, Op

#: Relative error up to which a tensor holds a value of the source: what verification allows a float file.
_TOLERANCE = 1e-4
#: Why an op is float that makes a divisor which the source rounds. Where divisors are small, on flat pictures, the file
#: then differs from every runtime that rounds them.
ROUNDED_DIVISOR = "it makes a divisor, which the source rounds: a small one would lose most of itself; it stays float"
#: What a user does who minds that.
SPARE_ATTENTION = (
    "leave the attention's sums and products out of the quantiser: op_types_to_quantize=['Conv', 'Gemm'], or "
    "nodes_to_exclude with their names"
)
#: Of the ops in ``SHARED``, those that give values which they read: rounding before or after them is the same.
_MOVING = SHARED - {"RESIZE_BILINEAR"}


def quantise_encoded(
    model: Tflite,
    source: Source,
    quantised: QuantisedGraph,
    io_type: IoType = IoType.FLOAT32,
    *,
    float_input: bool = False,
) -> QuantisedModel:
    """Quantise the float32 ``model`` to int8 by the scales of its source.

    Args:
        model: what the float network of ``quantised`` was lowered to.
        source: where that comes from.
        quantised: the source, taken apart.
        io_type: type of the model's input and outputs.
        float_input: the input stays float32 all the same.
    """
    graph = model.graph
    parameters = _moved(graph, _found(model, source, quantised))
    # A divisor in 8 bits may round to 0, and one step of a small one is most of it: no two runtimes would agree.
    divisors = {index: number for number in denominators(graph) for index in graph.ops[number].outputs}
    quotients = {index for op in graph.ops if op.type == "DIV" for index in op.outputs}
    spared = divisors.keys() & parameters.keys() - quotients
    parameters = {index: item for index, item in parameters.items() if index not in spared}
    for op in graph.ops:
        if op.type in ELEMENTWISE:
            for index in op.inputs:
                values = graph.tensors[index].values()
                if values is not None:
                    parameters[index] = parameters_of(float(values.min()), float(values.max()))
    plan = [_planned(op, graph, parameters) for op in graph.ops]
    refused = {divisors[index]: ROUNDED_DIVISOR for index in spared} | refused_scales(graph, plan, parameters)
    plan = [
        OpPlan(item.op, item.type, item.name, Precision.FP32, refused[item.op]) if item.op in refused else item
        for item in plan
    ]
    return Rewriter(model.editable_tree(), parameters, None, encoded=True).write(
        plan, IoType.FLOAT32 if float_input else io_type, io_type
    )


def remedy(model: Tflite) -> str | None:
    """What to do where a finished file is too far from its source, as far as the divisors are why."""
    quantisation = model.description.quantisation if model.description is not None else None
    return SPARE_ATTENTION if quantisation is not None and ROUNDED_DIVISOR in quantisation.reasons else None


def _found(model: Tflite, source: Source, quantised: QuantisedGraph) -> dict[int, Parameters]:
    """By tensor: the parameters of the value of the source that it holds on noise."""
    from converters.parity.activations import Activation, as_loaded, tflite_values, values_of
    from converters.parity.layout import arrays_for
    from converters.parity.matching import Matcher
    from converters.parity.stimuli import plain_stimuli

    graph, float_graph = model.graph, quantised.model
    inputs = plain_stimuli(source, float_graph)[0].inputs
    computed = {name for node in float_graph.graph.node for name in node.output}
    rounded = [name for name in quantised.encodings if name in computed]
    values = {**values_of(float_graph, source, rounded, inputs), **inputs}
    names = [name for name in quantised.encodings if name in values]
    matcher = Matcher([Activation(name, name, "", values[name], False) for name in names], _TOLERANCE)
    infos = [as_loaded(graph.tensors[index]) for index in graph.inputs]
    held = {**dict(zip(graph.inputs, arrays_for(infos, inputs))), **tflite_values(model, inputs)}
    return {
        index: quantised.encodings[names[matches[0][0]]]
        for index, matches in matcher.match_all(held).items()
        if graph.tensors[index].dtype == "float32"
    }


def _moved(graph: Graph, parameters: dict[int, Parameters]) -> dict[int, Parameters]:
    """``parameters``, and those of tensors that hold the same values in another place."""
    known = dict(parameters)
    readers = graph.readers()
    for op in graph.ops:
        if op.type in _MOVING and not known.keys() & set(op.outputs):
            given = {known.get(index) for index in _computed(op, graph)}
            if len(given) == 1 and (common := given.pop()) is not None:
                known.update(dict.fromkeys(op.outputs, common))
    for op in reversed(graph.ops):
        if op.type in _MOVING:
            given = {known.get(index) for index in op.outputs}
            if len(given) == 1 and (common := given.pop()) is not None:
                sole = [index for index in _computed(op, graph) if len(readers[index]) == 1]
                known |= {index: common for index in sole if index not in known and index not in graph.outputs}
    return known


def _computed(op: Op, graph: Graph) -> list[int]:
    tensors = graph.tensors
    return [index for index in op.inputs if not tensors[index].constant and tensors[index].dtype == "float32"]


def _planned(op: Op, graph: Graph, parameters: Mapping[int, Parameters]) -> OpPlan:
    reason = _float_reason(op, graph, parameters)
    name = graph.tensors[op.outputs[0]].name if op.outputs else ""
    if reason is not None:
        return OpPlan(op.index, op.type, name, Precision.FP32, reason)
    if op.type in TABLE:
        reason = f"the delegate makes one table of DEQUANTIZE, {op.type} and QUANTIZE"
    elif op.type in CLAMPS:
        reason = "the range of its result cuts off what it does"
    elif op.type in WEIGHTED:
        reason = "delegated, int8 weights and scales of the source"
    else:
        reason = "delegated, scales of the source"
    return OpPlan(op.index, op.type, name, Precision.INT8, reason)


def _float_reason(op: Op, graph: Graph, parameters: Mapping[int, Parameters]) -> str | None:
    """Why ``op`` computes in float; None where it is int8."""
    refusal = int8_refusal(op, graph)
    if refusal is not None:
        return refusal
    read, given = _computed(op, graph), [index for index in op.outputs if graph.tensors[index].dtype == "float32"]
    if not read or not parameters.keys() >= {*read, *given}:
        return "the source does not round all that it reads and gives"
    if op.type in SHARED:
        ratios = [parameters[index].scale / parameters[given[0]].scale for index in read]
        if not all(REQUANTISE_RATIO[0] <= ratio < REQUANTISE_RATIO[1] for ratio in ratios):
            return "the scales of its operands are too far from its result's"
        if op.type == "RESIZE_BILINEAR" and parameters[read[0]] != parameters[given[0]]:
            return "an interpolation in int8 has one scale, and the source has two"
    return None
