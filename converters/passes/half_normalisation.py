"""Normalisations whose ε and squares half precision holds.

Given: InstanceNormalization; LayerNormalization over more than the last axis; or c / √(mean c² + ε) with the quotient
written as such or as a product, as RMSNorm and deviations written by hand are, or c / (√(mean c²) + ε), with a mean or
a sample's variance; or c / max(‖c‖, ε) and c / (‖c‖ + ε) with ‖c‖ by ReduceL2; or n / (mean n + ε) with n = ‖x‖, the
response of ConvNeXt V2. Half precision takes an ε below 2^-14 for zero, and a map that is the same everywhere becomes
0 / 0.
Result: the same by ``tools.half_norm``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from converters.passes.base import NodePass, Refused, Rewrite
from converters.passes.tools.graph import (
    Emitter,
    axes_of,
    constant_of,
    inverted,
    replace_value,
    scalar_of,
    shape_of,
    sole_consumer,
)
from converters.passes.tools.half_norm import over_mean_norm, over_root_mean_square, over_root_plus
from evit_mobile.specs import Precision, Target

if TYPE_CHECKING:
    import onnx_ir as ir


#: An ε beside a norm is one where it is below this; it only keeps 0 / 0 from being computed.
_LARGEST_EPSILON = 1e-3


@dataclass(frozen=True)
class _Quotient:
    """``result`` = scale · c / √(mean c² + ε), or scale · c / (√(mean c²) + ε), the mean over ``axes``."""

    c: ir.Value
    axes: tuple[int, ...]
    epsilon: float
    result: ir.Value
    scale: float = 1.0
    is_outside: bool = False


class HalfNormalisation(NodePass):
    """Rewrites normalisations for fp16, but LayerNormalization of the last axis, which has a pass of its own."""

    name = "half-normalisation"
    reason = "fp16 takes the epsilon of a normalisation for zero, and divides by it"
    op_types = frozenset({"InstanceNormalization", "LayerNormalization", "ReduceL2", "Sqrt"})

    def match(self, node: ir.Node, target: Target) -> Rewrite | None:
        if target.precision is not Precision.FP16:
            return None
        if node.op_type == "InstanceNormalization":
            return _of_instances(node)
        if node.op_type == "LayerNormalization":
            return _of_layers(node)
        response = _response(node) if node.op_type == "ReduceL2" else None
        if response is not None:
            return response
        quotients = _over_norm(node) if node.op_type == "ReduceL2" else _quotients(node)
        if not quotients:
            return None

        def rewrite(emit: Emitter) -> None:
            for found in quotients:
                divided_by = over_root_plus if found.is_outside else over_root_mean_square
                value = divided_by(emit, found.c, found.axes, found.epsilon, found.scale)
                replace_value(found.result, value)

        return rewrite


def _of_instances(node: ir.Node) -> Rewrite:
    rank = len(node.inputs[0].shape or ()) if node.inputs[0] is not None else 0
    return _normalised(node, range(2, rank), (1, -1, *[1] * (rank - 2)))


def _of_layers(node: ir.Node) -> Rewrite | None:
    shape = shape_of(node.inputs[0])
    axis = node.attributes.get_int("axis", -1) % len(shape) if shape else -1
    if not shape or axis == len(shape) - 1 or any(output.uses() for output in node.outputs[1:]):
        return None
    return _normalised(node, range(axis, len(shape)), shape[axis:])


def _normalised(node: ir.Node, axes: Sequence[int], along: tuple[int, ...]) -> Rewrite:
    """The normalisation of ``node`` over ``axes``; scale and shift in the shape ``along`` broadcast to its input."""
    x, shape = node.inputs[0], shape_of(node.inputs[0])
    operands = [constant_of(value) if value is not None else np.zeros(0) for value in node.inputs[1:3]]
    if x is None or shape is None or any(operand is None for operand in operands):
        raise Refused("its shape is not static, or scale and shift are computed")

    def rewrite(emit: Emitter) -> None:
        centred = emit.op("Sub", "centred", [x, emit.reduce("ReduceMean", "mean", x, *axes)], shape)
        value = over_root_mean_square(emit, centred, axes, node.attributes.get_float("epsilon", 1e-5))
        for op_type, name, neutral, operand in zip(("Mul", "Add"), ("scale", "shift"), (1, 0), operands):
            if operand is not None and operand.size and (operand != neutral).any():
                value = emit.op(op_type, f"with_{name}", [value, emit.constant(name, operand.reshape(along))], shape)
        replace_value(node.outputs[0], value)

    return rewrite


def _response(node: ir.Node) -> Rewrite | None:
    """n / (mean n + ε) where ``node`` is n."""
    x, shape, norm = node.inputs[0], shape_of(node.inputs[0]), node.outputs[0]
    readers = {reader.op_type: reader for reader in norm.consumers()}
    if x is None or shape is None or set(readers) != {"ReduceMean", "Div"} or len(norm.uses()) != 2:
        return None
    mean, quotient = readers["ReduceMean"], readers["Div"]
    axes, of = axes_of(node, len(shape)), axes_of(mean, len(shape))
    added = sole_consumer(mean.outputs[0])
    kept = _keeps(node) and _keeps(mean)
    if not axes or not of or set(axes) & set(of) or not kept or added is None or added.op_type != "Add":
        return None
    epsilon = next((number for value in added.inputs if (number := scalar_of(value)) is not None), None)
    if epsilon is None or epsilon < 0 or tuple(quotient.inputs) != (norm, added.outputs[0]):
        return None

    def rewrite(emit: Emitter) -> None:
        replace_value(quotient.outputs[0], over_mean_norm(emit, x, axes, of, epsilon))

    return rewrite


def _over_norm(node: ir.Node) -> list[_Quotient]:
    """c / ‖c‖ where ``node`` is ‖c‖, guarded by an ε or not, expanded or not."""
    c, shape, norm = node.inputs[0], shape_of(node.inputs[0]), node.outputs[0]
    axes = axes_of(node, len(shape)) if shape is not None else None
    if c is None or shape is None or not axes or not _keeps(node):
        return []
    reader = sole_consumer(norm)
    if reader is not None and reader.op_type in ("Add", "Clip", "Max"):
        epsilon = next((number for value in reader.inputs if (number := scalar_of(value)) is not None), None)
        bounded = reader.op_type == "Clip" and len(reader.inputs) > 2 and reader.inputs[2] is not None
        if epsilon is None or not 0 <= epsilon <= _LARGEST_EPSILON or bounded:
            return []
        norm = reader.outputs[0]
        reader = sole_consumer(norm)
    if reader is not None and reader.op_type == "Expand" and shape_of(reader.outputs[0]) == shape:
        norm = reader.outputs[0]
        reader = sole_consumer(norm)
    if reader is None or reader.op_type != "Div" or reader.inputs[0] is not c or reader.inputs[1] is not norm:
        return []
    count = math.prod(shape[axis] for axis in axes)
    return [_Quotient(c, axes, 0.0, reader.outputs[0], 1 / math.sqrt(count))]


def _quotients(root: ir.Node) -> list[_Quotient]:
    """What is divided by √(k · mean c² + ε) or √(k · mean c²) + ε, of which ``root`` is the root, where that is c."""
    added = _producer(root.inputs[0], "Add")
    is_outside = added is None
    if is_outside:
        added = sole_consumer(root.outputs[0])
    if added is None or added.op_type != "Add" or added.domain != "":
        return []
    for term, guard in (tuple(added.inputs), tuple(added.inputs)[::-1]):
        epsilon, power = scalar_of(guard), _power(root.inputs[0] if is_outside else term)
        if epsilon is None or epsilon < 0 or power is None or power.kept != shape_of(root.outputs[0]):
            continue
        deviation = math.sqrt(power.factor)
        divisor, guarding = (
            (added.outputs[0], epsilon / deviation) if is_outside else (root.outputs[0], epsilon / power.factor)
        )
        return [
            _Quotient(c, power.axes, guarding, result, 1 / deviation, is_outside)
            for c, result in _divided(power.c, divisor)
        ]
    return []


@dataclass(frozen=True)
class _Power:
    """``factor`` · mean c², the mean over ``axes``; ``kept`` is its shape where these stay with size 1."""

    c: ir.Value
    axes: tuple[int, ...]
    factor: float
    kept: tuple[int, ...]


def _power(value: ir.Value | None) -> _Power | None:
    """What ``value`` is a power of, also as a variance of a sample, which is N / (N - 1) times the mean."""
    factor = 1.0
    while (step := _scaled(value)) is not None:
        value, by = step
        factor *= by
    reduced = _producer(value, "ReduceMean")
    c = _squared(reduced.inputs[0]) if reduced is not None else None
    shape = shape_of(c)
    axes = axes_of(reduced, len(shape)) if reduced is not None and shape is not None else None
    if c is None or shape is None or axes is None or factor <= 0:
        return None
    return _Power(c, axes, factor, tuple(1 if axis in axes else size for axis, size in enumerate(shape)))


def _scaled(value: ir.Value | None) -> tuple[ir.Value, float] | None:
    """What ``value`` is a multiple of, and how many times; itself in another shape counts."""
    node = value.producer() if value is not None else None
    if node is None or node.domain != "" or not node.inputs:
        return None
    first = node.inputs[0]
    shapes = shape_of(first), shape_of(value)
    if first is None or shapes[0] is None or shapes[1] is None:
        return None
    if node.op_type in ("Reshape", "Expand", "Identity"):
        return (first, 1.0) if math.prod(shapes[0]) == math.prod(shapes[1]) else None
    numbers = [scalar_of(operand) for operand in node.inputs]
    if node.op_type == "Div" and numbers[1]:
        return first, 1 / numbers[1]
    if node.op_type != "Mul":
        return None
    return next(
        ((other, number) for number, other in zip(numbers, node.inputs[::-1]) if number and other is not None), None
    )


def _divided(c: ir.Value, divisor: ir.Value) -> list[tuple[ir.Value, ir.Value]]:
    """What equals c, and its quotient by ``divisor``, or its product with 1 / divisor."""
    results = []
    for reader in divisor.consumers():
        result = reader.outputs[0]
        if inverted(result) is divisor:
            results += _products(c, result)
        elif reader.op_type == "Div" and reader.inputs[1] is divisor and _are_equal(reader.inputs[0], c):
            results.append((c, result))
    return results


def _products(c: ir.Value, inverse: ir.Value) -> list[tuple[ir.Value, ir.Value]]:
    products = [reader for reader in inverse.consumers() if reader.op_type == "Mul"]
    return [(c, node.outputs[0]) for node in products if any(_are_equal(operand, c) for operand in node.inputs)]


def _are_equal(value: ir.Value | None, other: ir.Value) -> bool:
    """Whether two values are one, or both are x without its mean over the same axes, as PyTorch's ``std`` computes it
    anew.
    """
    if value is other:
        return True
    return (mean := _centred(value)) is not None and mean == _centred(other)


def _centred(value: ir.Value | None) -> tuple[ir.Value, tuple[int, ...]] | None:
    """x and the axes where ``value`` is x without its mean."""
    difference = _producer(value, "Sub")
    mean = _producer(difference.inputs[1], "ReduceMean") if difference is not None else None
    if difference is None or mean is None or mean.inputs[0] is not difference.inputs[0]:
        return None
    x = difference.inputs[0]
    axes = axes_of(mean, len(x.shape or ())) if x is not None else None
    return (x, axes) if x is not None and axes and _keeps(mean) else None


def _keeps(reduced: ir.Node) -> bool:
    return bool(reduced.attributes.get_int("keepdims", 1))


def _squared(value: ir.Value | None) -> ir.Value | None:
    """c where ``value`` is c²."""
    product, power = _producer(value, "Mul"), _producer(value, "Pow")
    if product is not None and product.inputs[0] is product.inputs[1]:
        return product.inputs[0]
    return power.inputs[0] if power is not None and scalar_of(power.inputs[1]) == 2.0 else None


def _producer(value: ir.Value | None, op_type: str) -> ir.Node | None:
    node = value.producer() if value is not None else None
    return node if node is not None and node.op_type == op_type and node.domain == "" else None
