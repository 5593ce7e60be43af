"""The quantisation plan: for each op int8 or float32, and why.

Three things decide. *What the delegate takes*: an op without a delegated int8 form stays float (``delegated``). *What
the numbers allow*: what a root or a division takes apart stays float, since a small value that rounds to zero would be
divided by (``denominators``). *What a boundary costs*: the ops that are left free are divided so that the time of all
ops and of the QUANTIZE and DEQUANTIZE between them is least. With an op either in int8 or in float, and a conversion
paid once a tensor, that is a minimum cut: the source side is float, the sink side int8.

A convolution or linear layer that stays on the float side has int8 weights all the same (``dynamic``): the delegate
quantises its input row by row, to the range that the row has. So has one that the cut leaves alone in int8 between
float ops (``_islands``), and a linear layer of a single row wherever it stands: its time is that of reading the
weights, and float activations around it are a few thousand values that would each lose 30 dB to noise.

Costs are instructions per element or multiplication on an Arm64 core with dot products (Cortex-A76, LiteRT 2.1.2 under
QEMU's counter): only their order matters to the cut.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from converters.quantize.delegated import CLAMPS, TABLE, WEIGHTED, hybrid_refusal, int8_refusal
from evit_mobile.specs import Precision
from evit_mobile.tflite.costs import macs_of
from evit_mobile.tflite.flatbuffer import pack
from evit_mobile.tflite.graph import Graph, Op

#: (float32, int8) instructions a multiplication.
PER_MAC = {"CONV_2D": (0.33, 0.1), "FULLY_CONNECTED": (0.33, 0.1), "DEPTHWISE_CONV_2D": (0.6, 0.6)}
#: (float32, int8) instructions an element of the result, where it is not the usual.
PER_ELEMENT = {"RESHAPE": (0.1, 0.1), "TRANSPOSE": (1.7, 0.5), "PAD": (2.5, 0.7), "RELU": (0.6, 0.0)} | dict.fromkeys(
    TABLE, (1.8, 0.6)
)
USUAL = (1.0, 2.3)
QUANTIZE, DEQUANTIZE = 1.3, 1.2
_FORCED = 2**30
#: Cuts are integers: instructions are counted in these.
_UNIT = 64

_ARITHMETIC = frozenset(
    {"MEAN", "SUM", "MUL", "SUB", "ADD", "SQRT", "DIV", "RSQRT", "SQUARED_DIFFERENCE", "BATCH_MATMUL", "MAXIMUM", "POW"}
)


@dataclass(frozen=True)
class OpPlan:
    """The choice for one op. ``op`` is its index; ``precision`` int8, fp32, dynamic (float activations, int8 weights),
    or fp16 where a core computes in it.
    """

    op: int
    type: str
    name: str
    precision: Precision
    reason: str


@dataclass(frozen=True)
class QuantisedModel:
    """A quantised model's object tree (``ModelT``), and what was decided for each of its ops."""

    tree: Any
    plan: list[OpPlan]

    @property
    def content(self) -> bytes:
        """The .tflite."""
        return pack(self.tree)


def make_plan(graph: Graph, refused: dict[int, str], *, int8_input: bool, int8_output: bool) -> list[OpPlan]:
    """Decide every op.

    Args:
        refused: ops that must stay float for what calibration showed, with the reason.
        int8_input, int8_output: the model's ends are int8, so a float op there pays for a conversion.
    """
    forced = {op.index: reason for op in graph.ops if (reason := int8_refusal(op, graph)) is not None}
    rows = _single_rows(graph)
    forced = {**rows, **_before(rows, graph), **denominators(graph), **refused, **forced}
    int8 = cut(graph, set(forced), _Instructions(graph), int8_input=int8_input, int8_output=int8_output)
    islands = _islands(graph, int8)
    forced, int8 = forced | islands, int8 - islands.keys()
    return [OpPlan(op.index, op.type, name_of(op, graph), *_choice(op, graph, forced, int8)) for op in graph.ops]


def _choice(op: Op, graph: Graph, forced: dict[int, str], int8: set[int]) -> tuple[Precision, str]:
    if op.index in forced or op.index not in int8:
        reason = forced.get(op.index, "int8 would save less here than the conversions around it cost")
        return (Precision.FP32 if hybrid_refusal(op, graph) else Precision.DYNAMIC), reason
    return Precision.INT8, int8_reason(op)


def int8_reason(op: Op) -> str:
    """Why ``op`` can be int8."""
    if op.type in WEIGHTED:
        return "delegated, int8 weights per channel"
    if op.type in CLAMPS:
        return "the range of its result cuts off what it does"
    if op.type in TABLE:
        return f"the delegate makes one table of DEQUANTIZE, {op.type} and QUANTIZE"
    return "delegated, and its neighbours are int8 too"


def _single_rows(graph: Graph) -> dict[int, str]:
    """Linear layers, and convolutions, of one row of activations: classifiers, and what squeeze-and-excitation makes of
    its means.
    """
    reason = "one row: its time is that of reading int8 weights, and float activations keep the accuracy"
    layers = [op for op in graph.ops if hybrid_refusal(op, graph) is None]
    return {op.index: reason for op in layers if math.prod(graph.tensors[op.outputs[0]].shape[:-1]) == 1}


def _before(rows: dict[int, str], graph: Graph) -> dict[int, str]:
    """Convolutions of which nothing but layers in ``rows`` makes use: a classifier's last, whose map is pooled."""
    reason = "the last map before a single row: nothing evens the noise of int8 activations out"
    readers = graph.readers()
    maps = [op for op in graph.ops if op.type == "CONV_2D" and op.index not in rows]
    return {op.index: reason for op in maps if _uses(op, graph, readers) <= rows.keys()}


def _islands(graph: Graph, int8: set[int]) -> dict[int, str]:
    """Layers in ``int8`` whose input a float op makes and whose result only float ops read."""
    reason = (
        "between float ops: a hybrid op costs no more than the conversions, "
        "and rounds its input row by row, its result not at all"
    )
    producers = {tensor: op.index for op in graph.ops for tensor in op.outputs}
    readers = graph.readers()
    layers = {}
    for op in graph.ops:
        users = (
            readers.get(op.outputs[0], [])
            if op.index in int8 and op.type in WEIGHTED and hybrid_refusal(op, graph) is None
            else []
        )
        around = {producers.get(op.inputs[0], -1), *(user.index for user in users)}
        if users and op.outputs[0] not in graph.outputs and int8.isdisjoint(around) and -1 not in around:
            layers[op.index] = reason
    return layers


def _uses(op: Op, graph: Graph, readers: dict[int, list[Op]]) -> set[int]:
    """Indices of the layers that ``op``'s result comes to with no other layer between, and -1 where it comes to the
    model's end.
    """
    layers, pending, visited = set(), list(op.outputs), set(op.outputs)
    while pending:
        tensor = pending.pop()
        if tensor in graph.outputs:
            layers.add(-1)
        for reader in readers.get(tensor, []):
            if reader.type in WEIGHTED:
                layers.add(reader.index)
            else:
                pending += [index for index in reader.outputs if index not in visited]
                visited.update(reader.outputs)
    return layers


def denominators(graph: Graph) -> dict[int, str]:
    """Ops of normalisations: what leads to a root or a divisor, back to the nearest layer, and what its result is
    applied to.
    """
    producers = {tensor: op for op in graph.ops for tensor in op.outputs}
    reasons: dict[int, str] = {}
    for op in graph.ops:
        if op.type == "DIV":
            start = op.inputs[-1]
        elif op.type in ("SQRT", "RSQRT"):
            start = op.inputs[0]
        else:
            continue
        reasons[op.index] = f"{op.type} has no delegated int8 form"
        pending = [start]
        while pending:
            producer = producers.get(pending.pop())
            if producer is None or producer.index in reasons or not _is_inside(producer, graph):
                continue
            reasons[producer.index] = "it leads to a divisor or a root, which int8 could round to zero"
            pending += [index for index in producer.inputs if not graph.tensors[index].constant]
    return reasons


def _is_inside(op: Op, graph: Graph) -> bool:
    """Whether ``op`` belongs to a normalisation's arithmetic; a residual sum of two maps does not."""
    if op.type not in _ARITHMETIC:
        return False
    shapes = [graph.tensors[index].shape for index in op.inputs if not graph.tensors[index].constant]
    return not (op.type == "ADD" and len(shapes) == 2 and shapes[0] == shapes[1] and math.prod(shapes[0]) > 1)


class Costs(Protocol):
    """What the cut weighs, in instructions or cycles."""

    def of(self, op: Op) -> tuple[float, float]:
        """Of an op on the float side, and on the int8 side."""

    def quantise(self, tensor: int) -> float:
        """Of a QUANTIZE of ``tensor``."""

    def dequantise(self, tensor: int) -> float:
        """Of a DEQUANTIZE of ``tensor``."""


class _Instructions:
    """Costs by the figures at the top."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph

    def of(self, op: Op) -> tuple[float, float]:
        elements = sum(self._elements(index) for index in op.outputs)
        if op.type in PER_MAC:
            work, per = macs_of(op, self._graph), PER_MAC[op.type]
            return work * per[0], work * per[1] + elements
        as_float, as_int8 = PER_ELEMENT.get(op.type, USUAL)
        return elements * as_float, elements * as_int8

    def quantise(self, tensor: int) -> float:
        return QUANTIZE * self._elements(tensor)

    def dequantise(self, tensor: int) -> float:
        return DEQUANTIZE * self._elements(tensor)

    def _elements(self, tensor: int) -> int:
        return math.prod(self._graph.tensors[tensor].shape)


def cut(graph: Graph, forced: Collection[int], costs: Costs, *, int8_input: bool, int8_output: bool) -> set[int]:
    """Indices of the ops on the int8 side of the cheapest cut.

    Args:
        forced: ops that are float.
        int8_input, int8_output: the model's ends are int8, so a float op there pays for a conversion.
    """
    network = _Network(len(graph.ops) + 2)
    first, last = len(graph.ops), len(graph.ops) + 1
    for op in graph.ops:
        as_float, as_int8 = costs.of(op)
        network.edge(network.source, op.index, _FORCED if op.index in forced else _units(as_int8))
        network.edge(op.index, network.sink, _units(as_float))
    network.edge(*((first, network.sink) if int8_input else (network.source, first)), _FORCED)
    network.edge(*((last, network.sink) if int8_output else (network.source, last)), _FORCED)
    producers = {tensor: first for tensor in graph.inputs} | {
        tensor: op.index for op in graph.ops for tensor in op.outputs
    }
    readers = graph.readers()
    for tensor, producer in producers.items():
        users = [op.index for op in readers.get(tensor, [])] + [last] * graph.outputs.count(tensor)
        if users and graph.tensors[tensor].dtype == "float32":
            network.boundary(producer, users, _units(costs.quantise(tensor)), _units(costs.dequantise(tensor)))
    return network.sink_side() - {first, last}


def _units(cost: float) -> int:
    return min(round(cost / _UNIT), _FORCED // 4)


class _Network:
    """A flow network over ops, with helpers for tensors that are converted once for all who read them."""

    def __init__(self, ops: int) -> None:
        self._edges: list[tuple[int, int, int]] = []
        self.source, self.sink, self._nodes = ops, ops + 1, ops + 2

    def edge(self, start: int, end: int, capacity: int) -> None:
        """Cutting this edge, ``start`` on the float side and ``end`` on the int8 side, costs ``capacity``."""
        if capacity:
            self._edges.append((start, end, capacity))

    def boundary(self, producer: int, readers: list[int], quantise: int, dequantise: int) -> None:
        """One QUANTIZE if a float producer has an int8 reader, one DEQUANTIZE if an int8 one has a float reader."""
        quantised, dequantised = self._nodes, self._nodes + 1
        self._nodes += 2
        self.edge(producer, quantised, quantise)
        self.edge(dequantised, producer, dequantise)
        for reader in readers:
            self.edge(quantised, reader, _FORCED)
            self.edge(reader, dequantised, _FORCED)

    def sink_side(self) -> set[int]:
        """Nodes on the sink's side of a minimum cut."""
        from scipy.sparse import coo_array, csr_array
        from scipy.sparse.csgraph import breadth_first_order, maximum_flow

        starts, ends, capacities = (np.array(column, np.int32) for column in zip(*self._edges))
        shape = (self._nodes, self._nodes)
        capacity: csr_array = coo_array((capacities, (starts, ends)), shape=shape).tocsr()
        flow = maximum_flow(capacity.astype(np.int32), self.source, self.sink).flow
        residual = capacity - flow
        residual.data = np.maximum(residual.data, 0)
        residual.eliminate_zeros()
        reached: NDArray[np.int32] = breadth_first_order(residual, self.source, return_predecessors=False)
        return set(range(self._nodes)) - set(map(int, reached))


def name_of(op: Op, graph: Graph) -> str:
    """The name of what ``op`` gives."""
    return graph.tensors[op.outputs[0]].name if op.outputs else ""
