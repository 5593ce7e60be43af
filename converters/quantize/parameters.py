"""Scale and zero point of every int8 activation of a plan, and the ops whose scales the delegate would refuse."""

from __future__ import annotations

import math
from typing import Mapping, Sequence

from converters.quantize.delegated import (
    ADD_RATIO,
    CLAMPS,
    ELEMENTWISE,
    FLAT_BELOW,
    PRODUCT_RATIO,
    REQUANTISE_RATIO,
    SHARED,
    WEIGHTED,
)
from converters.quantize.observe import Observation
from converters.quantize.plan import OpPlan
from converters.quantize.ranges import Parameters, RangeChoice, choose_range, parameters_of
from converters.quantize.weights import quantise_weights
from evit_mobile.specs import Precision
from evit_mobile.tflite.graph import Graph, Op


def assign_parameters(
    graph: Graph, plan: Sequence[OpPlan], observed: Mapping[int, Observation], choice: RangeChoice
) -> dict[int, Parameters]:
    """Parameters by tensor index, for the model's ends and whatever an int8 op of ``plan`` reads or gives, its
    constants too.
    """
    int8 = [graph.ops[item.op] for item in plan if item.precision is Precision.INT8]
    lowest = _lowest_that_matters(graph)
    raised = {index: observation.raised_to(lowest.get(index, -math.inf)) for index, observation in observed.items()}
    # A ReLU whose operand's range begins at zero does nothing in int8 if its result has that range too.
    idle = {op.index for op in int8 if op.type == "RELU" and lowest.get(op.inputs[0], -math.inf) >= 0}
    while True:
        parameters: dict[int, Parameters] = {}
        for members in _shared_groups(int8, observed, [*graph.inputs, *graph.outputs], idle):
            parameters.update(
                dict.fromkeys(members, parameters_of(*choose_range([raised[index] for index in members], choice)))
            )
        busy = {index for index in idle if parameters[graph.ops[index].inputs[0]].low < 0}
        if not busy:
            break
        idle -= busy
    for op in int8:
        if op.type in ELEMENTWISE:
            for index in op.inputs:
                values = graph.tensors[index].values()
                if values is not None:
                    parameters[index] = parameters_of(float(values.min()), float(values.max()))
    return parameters


def _lowest_that_matters(graph: Graph) -> dict[int, float]:
    """Of each tensor: below which value all is the same to its readers, also those that get it moved; -inf where
    nothing is.
    """
    lowest: dict[int, float] = {}
    readers = graph.readers()
    for op in reversed(graph.ops):
        for index in op.outputs:
            users = [] if index in graph.outputs else readers.get(index, [])
            lowest[index] = min((_flat_below(user, lowest) for user in users), default=-math.inf)
    return lowest


def _flat_below(op: Op, lowest: Mapping[int, float]) -> float:
    """Below which value of its operand ``op``'s result, as far as it is read, does not change."""
    if op.type in FLAT_BELOW:
        return FLAT_BELOW[op.type]
    # Interpolation mixes what lies below with what lies above.
    moves = op.type in SHARED and op.type != "RESIZE_BILINEAR"
    return min(lowest[index] for index in op.outputs) if moves else -math.inf


def _shared_groups(
    int8: Sequence[Op], observed: Mapping[int, Observation], ends: Sequence[int], idle: set[int]
) -> list[list[int]]:
    """Activations that must have the same parameters, by union-find over the ops that only move values and those in
    ``idle``; ``ends`` are the model's.
    """
    parent: dict[int, int] = {}

    def root(index: int) -> int:
        parent.setdefault(index, index)
        while parent[index] != index:
            index = parent[index]
        return index

    for index in ends:
        if index in observed:
            root(index)
    for op in int8:
        activations = [index for index in (*op.inputs, *op.outputs) if index in observed]
        for index in activations:
            root(index)
        if op.type in SHARED or op.index in idle:
            for index in activations[1:]:
                parent[root(index)] = root(activations[0])
    groups: dict[int, list[int]] = {}
    for index in parent:
        groups.setdefault(root(index), []).append(index)
    return list(groups.values())


def refused_scales(graph: Graph, plan: Sequence[OpPlan], parameters: Mapping[int, Parameters]) -> dict[int, str]:
    """Int8 ops whose scales are further apart than XNNPACK takes, each with the reason."""
    refused = {}
    for item in plan:
        op = graph.ops[item.op]
        if item.precision is Precision.INT8 and (reason := _refusal(op, graph, parameters)) is not None:
            refused[op.index] = reason
    return refused


def _refusal(op: Op, graph: Graph, parameters: Mapping[int, Parameters]) -> str | None:
    inputs = [parameters[index].scale for index in op.inputs if index in parameters]
    result = parameters[op.outputs[0]].scale
    if op.type in ("ADD", "SUB"):
        ratios, bounds = [scale / result for scale in inputs], ADD_RATIO
    elif op.type == "MUL":
        ratios, bounds = [inputs[0] * inputs[-1] / result], PRODUCT_RATIO
    elif op.type in WEIGHTED:
        values = graph.tensors[op.inputs[1]].values()
        assert values is not None
        scales = quantise_weights(values, op.type).scales
        ratios, bounds = [inputs[0] * float(scales.max()) / result], (0.0, PRODUCT_RATIO[1])
    elif op.type in CLAMPS:
        (low, high), made = CLAMPS[op.type], parameters[op.outputs[0]]
        if made.low < low or made.high > high + result / 2:
            return f"its result shares a range that goes from {made.low:.3g} to {made.high:.3g}, and so clamps nothing"
        ratios, bounds = [inputs[0] / result], REQUANTISE_RATIO
    else:
        return None
    outside = [ratio for ratio in ratios if not bounds[0] <= ratio < bounds[1]]
    return (
        f"its scales are a factor of {outside[0]:.3g} apart, and the delegate takes {bounds[0]:.3g} to {bounds[1]:.3g}"
        if outside
        else None
    )
