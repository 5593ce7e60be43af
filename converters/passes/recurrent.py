"""Recurrent layers, step by step.

Given: LSTM, GRU or RNN (ONNX's definitions) in any direction: X [T, N, I], and for each direction D of the weights W
[D, G·H, I] and R [D, G·H, H], the bias B [D, 2·G·H] and the first states [D, N, H]. The lowering runs some of them
wrongly, and TFLite's own ops for them are not delegated.
Result: one linear layer for the inputs of all steps, and for each step one for the state, with the gates between.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from converters.passes.base import NodePass, Refused, Rewrite
from converters.passes.tools.graph import Emitter, constant_of, replace_value, shape_of
from evit_mobile.arrays import Array
from evit_mobile.specs import Target

if TYPE_CHECKING:
    import onnx_ir as ir

#: Steps of one layer that are still written out: each takes up to 14 ops.
MOST_STEPS = 256
#: Activations of one direction where the node names none.
_USUAL = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"], "RNN": ["Tanh"]}


class Recurrent(NodePass):
    """Writes LSTM, GRU and RNN layers of known length out."""

    name = "recurrent"
    reason = "TFLite's recurrent ops are not delegated, and the lowering runs some layers wrongly"
    op_types = frozenset({"LSTM", "GRU", "RNN"})

    def match(self, node: ir.Node, target: Target) -> Rewrite | None:
        source, shape = node.inputs[0], shape_of(node.inputs[0])
        weights, recurrence = constant_of(node.inputs[1]), constant_of(node.inputs[2])
        if source is None or shape is None:
            raise Refused("its shape is not static")
        if weights is None or recurrence is None:
            raise Refused("its weights are computed")
        if shape[0] > MOST_STEPS:
            raise Refused(f"it has {shape[0]} steps; at most {MOST_STEPS} are written out")
        activation = _activation(node)
        _check(node, shape)
        direction = node.attributes.get_string("direction", "forward")
        reverses = {"forward": [False], "reverse": [True]}.get(direction, [False, True])
        bias = constant_of(node.inputs[3]) if len(node.inputs) > 3 else None
        rows = weights.shape[1]
        bias = np.zeros((len(reverses), 2 * rows), np.float32) if bias is None else bias

        def rewrite(emit: Emitter) -> None:
            ways = []
            for place, reverse in enumerate(reverses):
                cell = _Cell(emit, recurrence[place], bias[place, :rows], bias[place, rows:], shape[1], activation)
                first = [_first(emit, node, 5 + state, place) for state in range(2 if node.op_type == "LSTM" else 1)]
                inputs = _inputs(emit, source, weights[place], shape)
                step = {"LSTM": cell.lstm, "GRU": _gru(node, cell), "RNN": cell.rnn}[node.op_type]
                ways.append(_run(step, inputs, first, reverse))
            _connect(emit, node, ways, shape)

        return rewrite


#: The states after a step, from its inputs [N, G·H] and the states [N, H] before; None is a state of zeros.
_Step = Callable[["ir.Value", "list[ir.Value | None]"], "list[ir.Value]"]


@dataclass(frozen=True)
class _Cell:
    """One direction: R [G·H, H], the biases [G·H] of the input and of the state, N, and the activation of the state."""

    emit: Emitter
    recurrence: Array
    input_bias: Array
    state_bias: Array
    batch: int
    activation: str

    @property
    def hidden(self) -> int:
        return int(self.recurrence.shape[1])

    def lstm(self, inputs: ir.Value, states: list[ir.Value | None]) -> list[ir.Value]:
        """Gates in the order input, output, forget, cell."""
        hidden, cell = states
        gates = self._added(inputs, hidden, slice(None), self.input_bias + self.state_bias)
        opened = self._op("Sigmoid", "gates", [self._part(gates, 0, 3)], 3)
        new = self._op("Tanh", "new", [self._part(gates, 3, 4)])
        kept = self._op("Mul", "taken", [self._part(opened, 0, 1), new])
        if cell is not None:
            kept = self._op("Add", "cell", [kept, self._op("Mul", "kept", [self._part(opened, 2, 3), cell])])
        shown = self._op("Mul", "hidden", [self._part(opened, 1, 2), self._op("Tanh", "squashed", [kept])])
        return [shown, kept]

    def gru(self, inputs: ir.Value, states: list[ir.Value | None], *, reset_first: bool) -> list[ir.Value]:
        """Gates in the order update, reset, new."""
        hidden, size = states[0], self.hidden
        gates, own = slice(0, 2 * size), slice(2 * size, None)
        bias = self.input_bias + self.state_bias
        opened = self._added(self._part(inputs, 0, 2), hidden, gates, bias[gates])
        opened = self._op("Sigmoid", "gates", [opened], 2)
        update, reset, new = self._part(opened, 0, 1), self._part(opened, 1, 2), self._part(inputs, 2, 3)
        if reset_first:
            state = None if hidden is None else self._op("Mul", "reset", [reset, hidden])
            new = self._added(new, state, own, bias[own])
        else:
            new = self._op("Add", "biased", [new, self.emit.constant("bias", self.input_bias[own])])
            state = self._linear(hidden, own, self.state_bias[own])
            new = self._op("Add", "candidate", [new, self._op("Mul", "reset", [reset, state])])
        new = self._op("Tanh", "new", [new])
        # (1 - z) n + z h = n + z (h - n)
        change = self._op("Neg", "less", [new]) if hidden is None else self._op("Sub", "change", [hidden, new])
        return [self._op("Add", "hidden", [new, self._op("Mul", "kept", [update, change])])]

    def rnn(self, inputs: ir.Value, states: list[ir.Value | None]) -> list[ir.Value]:
        gates = self._added(inputs, states[0], slice(None), self.input_bias + self.state_bias)
        return [self._op(self.activation, "hidden", [gates])]

    def _added(self, inputs: ir.Value, hidden: ir.Value | None, rows: slice, bias: Array) -> ir.Value:
        gates = len(bias) // self.hidden
        return self._op("Add", "sums", [inputs, self._linear(hidden, rows, bias)], gates)

    def _linear(self, hidden: ir.Value | None, rows: slice, bias: Array) -> ir.Value:
        """R h + b of some rows; b alone for a state of zeros."""
        added = self.emit.constant("bias", bias)
        if hidden is None:
            return added
        weights = self.emit.constant("recurrence", self.recurrence[rows])
        return self._op("Gemm", "recurrent", [hidden, weights, added], len(bias) // self.hidden, transB=1)

    def _part(self, value: ir.Value, first: int, end: int) -> ir.Value:
        return self.emit.slice("part", value, 1, first * self.hidden, end * self.hidden)

    def _op(self, op_type: str, name: str, inputs: list[ir.Value], gates: int = 1, **attributes: int) -> ir.Value:
        return self.emit.op(op_type, name, inputs, [self.batch, gates * self.hidden], **attributes)


def _gru(node: ir.Node, cell: _Cell) -> _Step:
    reset_first = not node.attributes.get_int("linear_before_reset", 0)
    return lambda inputs, states: cell.gru(inputs, states, reset_first=reset_first)


def _activation(node: ir.Node) -> str:
    """That of an RNN's state; of the others the usual ones are written."""
    attribute, usual = node.attributes.get("activations"), _USUAL[node.op_type]
    named = list(attribute.as_strings()) if attribute is not None else usual
    if node.op_type == "RNN" and set(named) in ({"Tanh"}, {"Relu"}):
        return named[0]
    if named != usual * (len(named) // len(usual)):
        raise Refused(f"its activations are {', '.join(named)}")
    return usual[-1]


def _check(node: ir.Node, shape: tuple[int, ...]) -> None:
    if node.attributes.get_int("layout", 0) or node.attributes.get_int("input_forget", 0):
        raise Refused("its layout or its gates are unusual")
    if "clip" in node.attributes or len(node.inputs) > 7 and node.inputs[7] is not None:
        raise Refused("it clips, or its gates see the cell")
    lengths = node.inputs[4] if len(node.inputs) > 4 else None
    if lengths is not None:
        known = constant_of(lengths)
        if known is None or (known != shape[0]).any():
            raise Refused("its sequences differ in length")


def _inputs(emit: Emitter, source: ir.Value, weights: Array, shape: tuple[int, ...]) -> list[ir.Value]:
    """W x of every step, [N, G·H] each."""
    steps, batch, size = shape
    rows = emit.reshape("rows", source, [steps * batch, size])
    matrix = emit.constant("weights", weights)
    zeros = emit.constant("no_bias", np.zeros(len(weights), np.float32))
    products = emit.op("Gemm", "inputs", [rows, matrix, zeros], [steps * batch, len(weights)], transB=1)
    return [emit.slice("step", products, 0, step * batch, (step + 1) * batch) for step in range(steps)]


def _first(emit: Emitter, node: ir.Node, operand: int, place: int) -> ir.Value | None:
    """The state [N, H] before the first step; None where it is zero."""
    value = node.inputs[operand] if len(node.inputs) > operand else None
    known, shape = constant_of(value), shape_of(value)
    if value is None or known is not None and not known.any():
        return None
    if shape is None:
        raise Refused("its first state's shape is not static")
    return emit.reshape("first", emit.slice("way", value, 0, place, place + 1), shape[1:])


def _run(step: _Step, inputs: list[ir.Value], first: list[ir.Value | None], reverse: bool) -> list[list[ir.Value]]:
    """The states after every step, in the order of the steps' places, and then the last states."""
    states = first
    kept: list[ir.Value] = []
    for given in reversed(inputs) if reverse else inputs:
        after = step(given, states)
        states = list(after)
        kept.append(after[0])
    last = [state for state in states if state is not None]
    return [kept[::-1] if reverse else kept, last]


def _connect(emit: Emitter, node: ir.Node, ways: list[list[list[ir.Value]]], shape: tuple[int, ...]) -> None:
    """Let Y [T, D, N, H] and the last states [D, N, H] come from ``ways``."""
    size, outputs = shape_of(ways[0][1][0]) or (), node.outputs
    if _is_read(outputs[0]):
        rows = [emit.reshape("row", way[0][step], [1, 1, *size]) for step in range(shape[0]) for way in ways]
        joined = (
            emit.op("Concat", "steps", rows, [shape[0] * len(ways), 1, *size], axis=0) if len(rows) > 1 else rows[0]
        )
        replace_value(outputs[0], emit.reshape("all", joined, [shape[0], len(ways), *size]))
    for place, output in enumerate(outputs[1:]):
        if _is_read(output):
            states = [emit.reshape("state", way[1][place], [1, *size]) for way in ways]
            last = states[0] if len(states) == 1 else emit.op("Concat", "last", states, [len(ways), *size], axis=0)
            replace_value(output, last)


def _is_read(value: ir.Value) -> bool:
    return bool(value.name) and (bool(value.uses()) or value.is_graph_output())
