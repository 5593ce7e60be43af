"""LayerNorm over channels in delegated ops, its scale and shift taken up by the convolutions and linear layers that
read it.

Given: Transpose (NCHW to NHWC) → LayerNormalization(x; γ, β, ε) → Transpose back → convolutions y = W z + b, or linear
layers of them. Result: x̂ = (x − μ) / √(σ² + ε) by mean, difference, square, mean, root and product, and convolutions
with W' = W diag(γ), b' = b + W β, since W (γ x̂ + β) + b = (W diag γ) x̂ + (b + W β).

The shift can only go where no padding mixes zeros among the shifted channels: a padded convolution declines. σ² is the
mean of (x − μ)², never E[x²] − μ², which loses all digits where the mean is much larger than the deviation. For the
same reason the mean is subtracted and not folded into centred weights W (I − 11ᵀ/C): algebraically equal, but then the
convolution sums products of the size of μ / σ that must cancel, and an fp16 or int8 copy of the activations keeps
nothing of x̂; the subtraction is under 1 % of a model.

In half precision c = x − μ is normalised as ``tools.half_norm`` says.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from converters.passes.base import NodePass, Refused, Rewrite
from converters.passes.tools.graph import Emitter, constant_of, is_padded, replace_value, shape_of, where
from converters.passes.tools.half_norm import over_root_mean_square
from converters.passes.tools.linear import linear_of_gemm
from evit_mobile.arrays import Array
from evit_mobile.specs import Precision, Target

if TYPE_CHECKING:
    import onnx_ir as ir


@dataclass(frozen=True)
class _Reader:
    """A convolution or Gemm that can take up a scale and a shift of its input's channels, which are ``axis`` of
    ``weight``.
    """

    node: ir.Node
    weight: Array
    bias: Array
    axis: int

    def fold(self, emit: Emitter, scale: Array, shift: Array) -> None:
        emit = emit.before(self.node, f"{where(self.node)}/normalised")
        along = [1] * self.weight.ndim
        along[self.axis] = -1
        others = tuple(axis for axis in range(self.weight.ndim) if axis != 1 - self.axis)
        moved = (self.weight.astype(np.float64) * shift.reshape(along)).sum(axis=others)
        scaled = (self.weight * scale.reshape(along)).astype(np.float32)
        self.node.replace_input_with(1, emit.constant("weight", scaled))
        if len(self.node.inputs) < 3:
            self.node.resize_inputs(3)
        self.node.replace_input_with(2, emit.constant("bias", (self.bias + moved).astype(np.float32)))


@dataclass(frozen=True)
class _Affine:
    """Scale γ [C] and shift β [C] of a normalisation."""

    scale: Array
    shift: Array


class _CannotFold(Exception):
    """Scale and shift must stay; the message says why."""


class LayerNorm(NodePass):
    """Expands LayerNormalization over the last axis; folds scale and shift into every reader, or into none."""

    name = "layer-norm"
    reason = "scale and shift of a normalisation cost two passes over the activations that the next weights can take up"
    op_types = frozenset({"LayerNormalization"})

    def match(self, node: ir.Node, target: Target) -> Rewrite | None:
        scale = constant_of(node.inputs[1])
        shift = constant_of(node.inputs[2]) if len(node.inputs) > 2 and node.inputs[2] is not None else None
        shape = shape_of(node.inputs[0])
        statistics_are_read = len(node.outputs) > 1 and bool(node.outputs[1].uses())
        if shape is None or scale is None or scale.shape != shape[-1:] or statistics_are_read:
            raise Refused("it does not normalise the last axis of a static shape by constants")
        affine = _Affine(scale, np.zeros_like(scale) if shift is None else shift)
        try:
            readers = _readers(node.outputs[0], shape[-1], target)
            left = None
        except _CannotFold as reason:
            readers, left = [], f"scale and shift stay: {reason}"

        def rewrite(emit: Emitter) -> str | None:
            for reader in readers:
                reader.fold(emit, affine.scale, affine.shift)
            _expand(emit, node, shape, target, affine if left is not None else None)
            return left

        return rewrite


def _readers(value: ir.Value, channels: int, target: Target) -> list[_Reader]:
    """What reads ``value`` [..., C], through a transpose to channels-first or a reshape to rows [M, C] too.

    Raises:
        _CannotFold: one of them cannot take up a scale and a shift, or the graph gives ``value`` out.
    """
    if target.precision is Precision.INT8:
        raise _CannotFold("a scale of input channels widens the range of per-output-channel int8 weights")
    readers: list[_Reader] = []
    for node in dict.fromkeys(value.consumers()):
        if node.op_type == "Transpose" and list(node.attributes["perm"].as_ints()) == [0, 3, 1, 2]:
            readers += _image_readers(node.outputs[0])
        elif node.op_type == "Reshape" and (shape_of(node.outputs[0]) or ())[1:] == (channels,):
            readers += _row_readers(node.outputs[0])
        else:
            readers.append(_gemm_reader(node))
    if value.is_graph_output() or not readers:
        raise _CannotFold("it is an output of the graph")
    return readers


def _image_readers(value: ir.Value) -> list[_Reader]:
    if value.is_graph_output():
        raise _CannotFold("it is an output of the graph")
    readers: list[_Reader] = []
    for node in dict.fromkeys(value.consumers()):
        weight = constant_of(node.inputs[1]) if node.op_type == "Conv" else None
        if weight is None or node.attributes.get_int("group", 1) != 1:
            raise _CannotFold(f"{where(node)} ({node.op_type}) reads it")
        if is_padded(node):
            raise _CannotFold(f"{where(node)} pads it")
        readers.append(_Reader(node, weight, _bias(node, weight.shape[0]), 1))
    return readers


def _row_readers(value: ir.Value) -> list[_Reader]:
    if value.is_graph_output():
        raise _CannotFold("it is an output of the graph")
    return [_gemm_reader(node) for node in dict.fromkeys(value.consumers())]


def _gemm_reader(node: ir.Node) -> _Reader:
    layer, weight = linear_of_gemm(node), constant_of(node.inputs[1]) if len(node.inputs) > 1 else None
    if layer is None or weight is None:
        raise _CannotFold(f"{where(node)} ({node.op_type}) reads it")
    return _Reader(node, weight, layer.bias, 1 if node.attributes.get_int("transB", 0) else 0)


def _bias(node: ir.Node, outputs: int) -> Array:
    if len(node.inputs) < 3 or node.inputs[2] is None:
        return np.zeros(outputs, np.float32)
    bias = constant_of(node.inputs[2])
    if bias is None or bias.shape != (outputs,):
        raise _CannotFold(f"the bias of {where(node)} is computed")
    return bias


def _expand(emit: Emitter, node: ir.Node, shape: tuple[int, ...], target: Target, affine: _Affine | None) -> None:
    """Put the normalisation's arithmetic in the place of ``node``; ``affine`` is what no reader took up."""
    x = node.inputs[0]
    if x is None:
        raise ValueError(f"{where(node)} has no input")
    last = len(shape) - 1
    epsilon = node.attributes.get_float("epsilon", 1e-5)
    centred = emit.op("Sub", "centred", [x, emit.reduce("ReduceMean", "mean", x, last)], shape)
    if target.precision is Precision.FP16:
        out = over_root_mean_square(emit, centred, [last], epsilon)
    else:
        squared = emit.op("Mul", "squared", [centred, centred], shape)
        inverse = _inverse(emit, emit.reduce("ReduceMean", "variance", squared, last), epsilon)
        out = emit.op("Mul", "normalised", [centred, inverse], shape)
    if affine is not None:
        out = emit.op("Mul", "scaled", [out, emit.constant("scale", affine.scale)], shape)
        out = emit.op("Add", "shifted", [out, emit.constant("shift", affine.shift)], shape)
    replace_value(node.outputs[0], out)


def _inverse(emit: Emitter, variance: ir.Value, epsilon: float) -> ir.Value:
    """1 / √(σ² + ε)."""
    column = shape_of(variance) or ()
    guard = emit.constant("epsilon", np.array([epsilon], np.float32))
    guarded = emit.op("Add", "variance_guarded", [variance, guard], column)
    return emit.op("Reciprocal", "inverse", [emit.op("Sqrt", "deviation", [guarded], column)], column)
