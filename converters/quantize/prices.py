"""What an op costs on a class of core, by precision: the prices of the plan that is chosen by time.

The tables of Arm cores in ``prices.json`` are made by ``benchmarks.quantize.prices`` from estimates of whole networks,
op by op, with the waiting for memory in them. An op's price is linear in its multiply-accumulates, its weights, and the
elements that it reads and writes; what the delegate folds into a neighbour costs nothing there and so nothing here.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any, Literal

from converters.quantize.delegated import CLAMPS, TABLE, WEIGHTED
from converters.quantize.plan import DEQUANTIZE, PER_ELEMENT, PER_MAC, QUANTIZE, USUAL
from evit_mobile.specs import Core, Precision
from evit_mobile.tflite.costs import macs_of
from evit_mobile.tflite.graph import Graph, Op

#: Of a kind of op that has no price of its own in a precision.
ANY = "any"
#: From int8 to int8 of another scale.
REQUANTISE = "REQUANTISE"
LAYERS = ("pointwise", "one row", "CONV_2D", "DEPTHWISE_CONV_2D")
#: What a price is linear in.
FEATURES = ("a MAC", "an element read", "an element written", "a weight", "an op")
#: MACs, elements read, elements written, weights, 1.
Features = tuple[int, int, int, int, int]
Unit = Literal["cycles", "instructions"]
#: Instructions an element that a hybrid layer reads.
HYBRID_READ = 13.0


@dataclass(frozen=True)
class Prices:
    """The table of a class of core.

    Attributes:
        source: what it was made from.
        unit: of the prices.
        half: whether the core computes in half precision; where it does not, fp16 costs what fp32 does.
        by_kind: kind of op -> precision -> price a feature.
    """

    source: str
    unit: Unit
    half: bool
    by_kind: Mapping[str, Mapping[str, Sequence[float]]]

    def of(self, kind: str, precision: Precision, features: Features) -> float:
        """The price of an op of that kind."""
        if precision is Precision.FP16 and not self.half:
            precision = Precision.FP32
        known, usual = self.by_kind.get(kind, {}), self.by_kind[ANY]
        # A layer without a price in this precision has no such form: what it does in float is nearest.
        prices = known.get(precision) or (known.get(Precision.FP32) if kind in LAYERS else usual.get(precision))
        return math.sumprod(prices or usual[Precision.FP32], features)


@dataclass(frozen=True)
class State:
    """An op of a finished file as the delegate runs it."""

    kind: str
    precision: Precision
    features: Features


@functools.cache
def prices_for(core: Core) -> Prices:
    """The table of ``core``; of one that has none, the figures that the plan of int8 is made by."""
    known = _tables().get(core)
    return by_instructions() if known is None else Prices(**known)


def by_instructions() -> Prices:
    """The costs of ``plan`` as prices. It has none of hybrid layers: they multiply as int8 does, and pay so much for
    their input that base-r224 is as much faster than in fp32 as was measured (benchmarks/results/int8.md).
    """
    by_kind: dict[str, dict[str, Sequence[float]]] = {}
    for kind, (as_float, as_int8) in PER_ELEMENT.items():
        by_kind[kind] = {Precision.FP32: (0, 0, as_float, 0, 0), Precision.INT8: (0, 0, as_int8, 0, 0)}
    for kind in LAYERS:
        as_float, as_int8 = PER_MAC.get(kind, PER_MAC["CONV_2D"])
        by_kind[kind] = {Precision.FP32: (as_float, 0, 0, 0, 0), Precision.INT8: (as_int8, 0, 1, 0, 0)}
        if kind != "DEPTHWISE_CONV_2D":
            by_kind[kind][Precision.DYNAMIC] = (as_int8, HYBRID_READ, 1, 0, 0)
    for kind, cost in (("QUANTIZE", QUANTIZE), ("DEQUANTIZE", DEQUANTIZE)):
        by_kind[kind] = {Precision.INT8: (0, 0, cost, 0, 0)}
    by_kind[ANY] = {Precision.FP32: (0, 0, USUAL[0], 0, 0), Precision.INT8: (0, 0, USUAL[1], 0, 0)}
    return Prices("instructions, as the plan of int8 counts them", "instructions", False, by_kind)


@functools.cache
def _tables() -> dict[str, dict[str, Any]]:
    tables: dict[str, dict[str, Any]] = json.loads((resources.files("converters.quantize") / "prices.json").read_text())
    return tables


def price_of(graph: Graph, prices: Prices, *, half: bool = False) -> float:
    """What an inference costs: all ops that depend on the input.

    Args:
        graph: of a finished file, whose precisions are its tensors' types.
        half: it leaves what is float to half precision.
    """
    states = states_of(graph, half=half).values()
    return sum(prices.of(state.kind, state.precision, state.features) for state in states)


def states_of(graph: Graph, *, half: bool = False) -> dict[int, State]:
    """By op, how the delegate runs it; without the ops that only feed another, and the constants' conversions."""
    tables = tables_in(graph)
    inside = {index for ends in tables.values() for index in ends}
    fixed = frozenset(index for op in graph.ops if not op.depends_on_input for index in op.outputs)
    states = {}
    for op in graph.ops:
        if op.index not in inside and op.depends_on_input:
            precision = Precision.INT8 if op.index in tables else _precision(op, graph, half)
            features = features_of(op, graph, fixed)
            states[op.index] = State(_conversion(op, graph) or kind_of(op, graph), precision, features)
    return states


def kind_of(op: Op, graph: Graph) -> str:
    """The type, and of layers what decides their kernel: linear layers and 1x1 convolutions are alike."""
    if op.type not in ("CONV_2D", "FULLY_CONNECTED"):
        return op.type
    if math.prod(graph.tensors[op.outputs[0]].shape[:-1]) == 1:
        return "one row"
    window = graph.tensors[op.inputs[1]].shape[1:3] if op.type == "CONV_2D" else (1, 1)
    return "pointwise" if window == (1, 1) else "CONV_2D"


def features_of(op: Op, graph: Graph, fixed: frozenset[int] = frozenset()) -> Features:
    """What its price is linear in; see ``FEATURES``. ``fixed`` are tensors that are unpacked once, constants in
    float16.
    """
    computed = {index for index in op.inputs if not graph.tensors[index].constant and index not in fixed}
    read = sum(_elements(graph, index) for index in computed)
    weights = sum(_elements(graph, index) for index in op.inputs if index not in computed)
    return macs_of(op, graph), read, sum(_elements(graph, index) for index in op.outputs), weights, 1


def _elements(graph: Graph, tensor: int) -> int:
    return math.prod(max(size, 1) for size in graph.tensors[tensor].shape)


def _precision(op: Op, graph: Graph, half: bool) -> Precision:
    types = [graph.tensors[index].dtype for index in (*op.inputs[:1], *op.outputs[:1])]
    if "int8" in types or "uint8" in types:
        return Precision.INT8
    if op.type in WEIGHTED and len(op.inputs) > 1 and graph.tensors[op.inputs[1]].dtype == "int8":
        return Precision.DYNAMIC
    return Precision.FP16 if half else Precision.FP32


def _conversion(op: Op, graph: Graph) -> str | None:
    is_requantised = op.type == "QUANTIZE" and graph.tensors[op.inputs[0]].dtype == "int8"
    return REQUANTISE if is_requantised else None


def tables_in(graph: Graph) -> dict[int, tuple[int, int]]:
    """Functions of one value that the delegate makes a table of, with the conversions before and after each."""
    producers = {tensor: op for op in graph.ops for tensor in op.outputs}
    readers = graph.readers()
    tables = {}
    for op in graph.ops:
        if op.type not in TABLE | CLAMPS.keys():
            continue
        before, users = producers.get(op.inputs[0]), readers.get(op.outputs[0], [])
        alone = len(readers.get(op.inputs[0], [])) == 1 and op.outputs[0] not in graph.outputs
        if (
            before is not None
            and before.type == "DEQUANTIZE"
            and alone
            and [user.type for user in users] == ["QUANTIZE"]
        ):
            tables[op.index] = (before.index, users[0].index)
    return tables
