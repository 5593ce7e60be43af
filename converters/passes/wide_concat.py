"""Concat of more maps than the delegate joins at once.

Given: Concat of more than five operands; XNNPACK joins five at most, and leaves CONCATENATION of more to TFLite.
Result: a chain of Concat of five or fewer. Operands that another Concat has joined already, as in DenseNet, whose
layers read all before them, are taken from there: then each layer joins two maps instead of copying all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from converters.passes.base import PassResult, Refused
from converters.passes.tools.graph import Emitter, replace_value, shape_of, where
from evit_mobile.specs import Target

if TYPE_CHECKING:
    import onnx_ir as ir

#: Operands that XNNPACK's concatenation takes (``xnn_define_concatenate5`` is its widest).
LIMIT = 5


class WideConcat:
    """Rewrites Concat of more than five float operands."""

    name = "wide-concat"
    reason = "CONCATENATION of more than five operands leaves the delegate"

    def __call__(self, model: ir.Model, target: Target) -> PassResult:
        result, joined = PassResult(), _Joined()
        for node in [node for node in model.graph if node.op_type == "Concat" and node.domain == ""]:
            try:
                operands, axis = _operands(node)
            except Refused as refusal:
                if len(node.inputs) > LIMIT:
                    result.decline(where(node), str(refusal))
                continue
            if len(operands) > LIMIT:
                emit = Emitter(model.graph, node, where(node))
                replace_value(node.outputs[0], _chain(emit, joined, operands, axis))
                result.fired += 1
            else:
                joined.add(operands, axis, node.outputs[0])
        return result


def _operands(node: ir.Node) -> tuple[tuple[ir.Value, ...], int]:
    """The joined values and the axis, counted from the front."""
    import onnx_ir as ir

    operands = tuple(value for value in node.inputs if value is not None)
    shapes = [shape_of(value) for value in operands]
    if node.outputs[0].dtype is not ir.DataType.FLOAT:
        raise Refused("it joins no float32 maps")
    if any(shape is None for shape in shapes) or shapes[0] is None:
        raise Refused("its operands have no static shapes")
    return operands, node.attributes.get_int("axis", 0) % len(shapes[0])


class _Joined:
    """Values by the operands and the axis that they were joined from."""

    def __init__(self) -> None:
        self._values: dict[tuple[int, tuple[ir.Value, ...]], ir.Value] = {}

    def add(self, operands: tuple[ir.Value, ...], axis: int, value: ir.Value) -> None:
        self._values[axis, operands] = value

    def longest(self, operands: tuple[ir.Value, ...], axis: int) -> tuple[int, ir.Value]:
        """How many of the first ``operands`` are joined already, and as which value; 1 and the first if none are."""
        for count in range(len(operands), 1, -1):
            value = self._values.get((axis, operands[:count]))
            if value is not None:
                return count, value
        return 1, operands[0]


def _chain(emit: Emitter, joined: _Joined, operands: tuple[ir.Value, ...], axis: int) -> ir.Value:
    count, value = joined.longest(operands, axis)
    while count < len(operands):
        added = operands[count : count + LIMIT - 1]
        count += len(added)
        value = emit.op("Concat", "joined", [value, *added], _shape(operands[:count], axis), axis=axis)
        joined.add(operands[:count], axis, value)
    return value


def _shape(operands: tuple[ir.Value, ...], axis: int) -> list[int]:
    shapes = [shape for value in operands if (shape := shape_of(value)) is not None]
    return [sum(shape[axis] for shape in shapes) if place == axis else size for place, size in enumerate(shapes[0])]
