"""Transpositions of a lowered model are put off for as long as ops can do without them, and most meet their opposite.

Given: a model lowered op by op, each convolution between two TRANSPOSE.
Result: ops that work on any order of axes work on the one that is there; a TRANSPOSE stands where another op or an
output needs its order, once for each tensor, and is a RESHAPE where it moves nothing but axes of size 1. Values are
moved and never computed otherwise.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from converters.lowering.axis_rules import RULES, View, moves_nothing
from converters.tflite.editor import FlatbufferEditor


def put_off_transpositions(editor: FlatbufferEditor) -> None:
    """Rewrite the ops of a lowered model with fewer transpositions."""
    _Delay(editor).run()
    editor.drop_unused_data()


class _Delay:
    """One walk over the ops in their order, which writes a new list of them."""

    def __init__(self, editor: FlatbufferEditor) -> None:
        self._editor, self._graph = editor, editor.subgraph
        self._operators: list[Any] = []
        #: What a tensor is a transposition of, and by which order; it has no values until ``_make`` gives it some.
        self._views: dict[int, View] = {}

    def run(self) -> None:
        for operator in self._graph.operators:
            kind = self._editor.kind(operator)
            if not (self._is_put_off(operator, kind) or self._follows(operator, kind)):
                for index in operator.inputs:
                    self._make(int(index))
                self._operators.append(operator)
        for index in self._graph.outputs:
            self._make(int(index))
        self._graph.operators = self._operators
        self._drop_unread()

    def _is_put_off(self, operator: Any, kind: str) -> bool:
        order = self._editor.constant(int(operator.inputs[1])) if kind == "TRANSPOSE" else None
        if order is None:
            return False
        source, axes = int(operator.inputs[0]), tuple(int(axis) for axis in order)
        if source in self._views:
            before = self._views[source]
            source, axes = before.source, tuple(before.order[axis] for axis in axes)
        self._views[int(operator.outputs[0])] = View(source, axes)
        return True

    def _follows(self, operator: Any, kind: str) -> bool:
        """Whether the op could be written for the order that its operands have."""
        inputs = [int(index) for index in operator.inputs]
        orders = {self._views[index].order for index in inputs if index in self._views}
        rule = RULES.get(kind)
        if rule is None or len(orders) != 1:
            return False
        order = orders.pop()
        ranks = {len(self._editor.shape(int(index))) for index in operator.outputs}
        if ranks != {len(order)}:
            return False
        changed = rule(copy.deepcopy(operator), order, self._editor.constant)
        if changed is None:
            return False
        operands = [
            self._operand(index, order) if place in changed.maps else index for place, index in enumerate(inputs)
        ]
        if None in operands:
            return False
        for place, values in changed.parameters.items():
            operands[place] = self._editor.add_constant(inputs[place], values, "INT32", None, b"_moved")
        results = []
        for index in operator.outputs:
            results.append(self._moved_tensor(int(index), order))
            self._views[int(index)] = View(results[-1], order)
        changed.operator.inputs, changed.operator.outputs = np.array(operands, np.int32), np.array(results, np.int32)
        self._operators.append(changed.operator)
        return True

    def _operand(self, index: int, order: tuple[int, ...]) -> int | None:
        """A tensor that holds operand ``index`` in the order before the transposition; None where it cannot be had
        for nothing.
        """
        if index in self._views:
            return self._views[index].source
        shape = self._editor.shape(index)
        if not shape or all(size == 1 for size in shape):
            return index
        full = (1,) * (len(order) - len(shape)) + shape
        values = self._editor.constant(index)
        if values is not None:
            if values.dtype != np.float32:
                return None
            moved = values.reshape(full).transpose(np.argsort(order))
            return self._editor.add_constant(index, np.ascontiguousarray(moved), "FLOAT32", None, b"_moved")
        back = [int(axis) for axis in np.argsort(order)]
        if not moves_nothing(full, back):
            return None
        target = self._tensor_like(index, tuple(full[axis] for axis in back))
        self._operators.append(self._editor.reshape(index, target))
        return target

    def _make(self, index: int) -> None:
        """Give tensor ``index`` its values, if it is one that was put off."""
        view = self._views.pop(index, None)
        if view is None:
            return
        still = moves_nothing(self._editor.shape(view.source), view.order)
        self._operators.append(
            self._editor.reshape(view.source, index)
            if still
            else self._editor.transpose(view.source, view.order, index)
        )

    def _moved_tensor(self, index: int, order: tuple[int, ...]) -> int:
        shape = self._editor.shape(index)
        return self._tensor_like(index, tuple(shape[axis] for axis in np.argsort(order)))

    def _tensor_like(self, index: int, shape: tuple[int, ...]) -> int:
        tensor = copy.deepcopy(self._graph.tensors[index])
        tensor.shape, tensor.shapeSignature, tensor.name = np.array(shape, np.int32), None, tensor.name + b"_moved"
        return self._editor.add_tensor(tensor)

    def _drop_unread(self) -> None:
        """Drop ops whose results nothing reads."""
        read = {int(index) for index in self._graph.outputs}
        kept = []
        for operator in reversed(self._operators):
            if read.intersection(int(index) for index in operator.outputs):
                kept.append(operator)
                read.update(int(index) for index in operator.inputs)
        self._graph.operators = kept[::-1]
