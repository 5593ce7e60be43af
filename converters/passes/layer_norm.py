"""LayerNorm over channels in delegated ops, its scale and shift taken up by the convolutions and linear layers that read it.

Given: Transpose (NCHW to NHWC) → LayerNormalization(x; γ, β, ε) → Transpose back → convolutions y = W z + b, or products z W.
Result: x̂ = (x − μ) / √(σ² + ε) by mean, difference, square, mean, root and product, and convolutions with W' = W diag(γ),
b' = b + W β, since W (γ x̂ + β) + b = (W diag γ) x̂ + (b + W β).

The shift can only go where no padding mixes zeros among the shifted channels: a padded convolution declines. σ² is the mean of
(x − μ)², never E[x²] − μ², which loses all digits where the mean is much larger than the deviation. For the same reason the mean is
subtracted and not folded into centred weights W (I − 11ᵀ/C): algebraically equal, but then the convolution sums products of the size
of μ / σ that must cancel, and an fp16 or int8 copy of the activations keeps nothing of x̂; the subtraction is under 1 % of a model.

For fp16, which ends at 65504 and whose normal numbers start at 2^-14, x̂ = (x − μ) √g / √max(g σ², 2^-14) with g = 1/16: the squares
stay finite up to |x − μ| = 1023 instead of 255, and the lower bound, σ = 0.03, stands for an ε that fp16 would take for zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from converters.float16 import SMALLEST
from converters.passes.base import PassResult
from converters.passes.linear_layer import Linear, layer_of
from converters.passes.tools.graph import Array, Emitter, constant_of, replace_value, shape_of, where
from evit_mobile.specs import Precision, Target

if TYPE_CHECKING:
    import onnx_ir as ir


#: g of the module's text.
HALF_GAIN = 1 / 16


class _Reader(Protocol):
    """What can take up a scale and a shift of its input's channels."""

    def fold(self, graph: ir.Graph, scale: Array, shift: Array) -> None:
        """Take them up."""


@dataclass(frozen=True)
class _Weighted:
    """A convolution or Gemm; ``axis`` is the input channels' in ``weight``."""

    node: ir.Node
    weight: Array
    bias: Array
    axis: int

    def fold(self, graph: ir.Graph, scale: Array, shift: Array) -> None:
        emit = Emitter(graph, self.node, f"{where(self.node)}/normalised")
        along = [1] * self.weight.ndim
        along[self.axis] = -1
        others = tuple(axis for axis in range(self.weight.ndim) if axis != 1 - self.axis)
        moved = (self.weight.astype(np.float64) * shift.reshape(along)).sum(axis=others)
        self.node.replace_input_with(
            1, emit.constant("weight", (self.weight * scale.reshape(along)).astype(np.float32))
        )
        bias = emit.constant("bias", (self.bias + moved).astype(np.float32))
        if len(self.node.inputs) < 3:
            self.node.resize_inputs(3)
        self.node.replace_input_with(2, bias)


@dataclass(frozen=True)
class _Product:
    """A linear layer written as MatMul, with an Add behind it or without; ``end`` is its result."""

    layer: Linear
    end: ir.Value

    def fold(self, graph: ir.Graph, scale: Array, shift: Array) -> None:
        last = self.end.producer()
        assert last is not None
        emit = Emitter(graph, last, f"{where(last)}/normalised")
        weight = self.layer.weight.astype(np.float64)
        bias = shift @ weight + (0 if self.layer.bias is None else self.layer.bias)
        scaled = emit.constant("weight", (weight * scale[:, np.newaxis]).astype(np.float32))
        product = emit.op("MatMul", "product", [self.layer.source, scaled], self.layer.shape)
        replace_value(
            self.end, emit.op("Add", "sum", [product, emit.constant("bias", bias.astype(np.float32))], self.layer.shape)
        )


class _CannotFold(Exception):
    """Scale and shift must stay; the message says why."""


class LayerNorm:
    """Expands LayerNormalization over the last axis; folds scale and shift into every reader, or into none."""

    name = "layer-norm"
    reason = "scale and shift of a normalisation cost two passes over the activations that the next weights can take up"

    def __call__(self, model: ir.Model, target: Target) -> PassResult:
        result = PassResult()
        for node in [node for node in model.graph if node.op_type == "LayerNormalization"]:
            scale = constant_of(node.inputs[1])
            shift = constant_of(node.inputs[2]) if len(node.inputs) > 2 and node.inputs[2] is not None else None
            shape = shape_of(node.inputs[0])
            if (
                shape is None
                or scale is None
                or scale.shape != shape[-1:]
                or len(node.outputs) > 1
                and node.outputs[1].uses()
            ):
                result.decline(where(node), "it does not normalise the last axis of a static shape by constants")
                continue
            shift = np.zeros_like(scale) if shift is None else shift
            try:
                if target.precision is Precision.INT8:
                    raise _CannotFold("a scale of input channels widens the range of per-output-channel int8 weights")
                readers = _readers(node.outputs[0], shape[-1])
            except _CannotFold as kept:
                result.decline(where(node), f"scale and shift stay: {kept}")
                _expand(model.graph, node, shape, scale, shift, target)
            else:
                for reader in readers:
                    reader.fold(model.graph, scale, shift)
                _expand(model.graph, node, shape, None, None, target)
            result.fired += 1
        return result


def _readers(value: ir.Value, channels: int) -> list[_Reader]:
    """What reads ``value`` [..., C], through a transpose to channels-first too.

    Raises:
        _CannotFold: one of them cannot take up a scale and a shift, or the graph gives ``value`` out.
    """
    readers: list[_Reader] = []
    for node in dict.fromkeys(value.consumers()):
        if node.op_type == "Transpose" and list(node.attributes["perm"].as_ints()) == [0, 3, 1, 2]:
            readers += _image_readers(node.outputs[0])
        else:
            readers.append(_product_reader(node, value, channels))
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
        pads = node.attributes.get("pads")
        if (pads is not None and any(pads.as_ints())) or node.attributes.get_string("auto_pad", "NOTSET") not in (
            "NOTSET",
            "VALID",
        ):
            raise _CannotFold(f"{where(node)} pads it")
        readers.append(_Weighted(node, weight, _bias(node, weight.shape[0]), 1))
    return readers


def _product_reader(node: ir.Node, value: ir.Value, channels: int) -> _Reader:
    if node.op_type == "MatMul" and (found := layer_of(node)) is not None:
        end, layer = found
        if layer.source is value:
            return _Product(layer, end)
    weight = constant_of(node.inputs[1]) if len(node.inputs) > 1 else None
    plain = node.op_type == "Gemm" and node.inputs[0] is value and node.attributes.get_int("transA", 0) == 0
    scales = [node.attributes.get_float(name, 1.0) for name in ("alpha", "beta")]
    if weight is None or weight.ndim != 2 or not plain or scales != [1.0, 1.0]:
        raise _CannotFold(f"{where(node)} ({node.op_type}) reads it")
    axis = 1 if node.attributes.get_int("transB", 0) else 0
    return _Weighted(node, weight, _bias(node, weight.shape[1 - axis]), axis)


def _bias(node: ir.Node, outputs: int) -> Array:
    if len(node.inputs) < 3 or node.inputs[2] is None:
        return np.zeros(outputs, np.float32)
    bias = constant_of(node.inputs[2])
    if bias is None or bias.shape != (outputs,):
        raise _CannotFold(f"the bias of {where(node)} is computed")
    return bias


def _expand(
    graph: ir.Graph, node: ir.Node, shape: tuple[int, ...], scale: Array | None, shift: Array | None, target: Target
) -> None:
    x = node.inputs[0]
    assert x is not None
    emit = Emitter(graph, node, where(node))
    last = len(shape) - 1
    column = (*shape[:-1], 1)
    gain = HALF_GAIN if target.precision is Precision.FP16 else 1.0
    centred = emit.op("Sub", "centred", [x, emit.reduce("ReduceMean", "mean", x, last)], shape)
    smaller = (
        centred
        if gain == 1.0
        else emit.op("Mul", "smaller", [centred, emit.constant("gain", np.array([gain], np.float32))], shape)
    )
    variance = emit.reduce("ReduceMean", "variance", emit.op("Mul", "squared", [smaller, centred], shape), last)
    if gain == 1.0:
        epsilon = emit.constant("epsilon", np.array([node.attributes.get_float("epsilon", 1e-5)], np.float32))
        deviation = emit.op(
            "Sqrt", "deviation", [emit.op("Add", "variance_guarded", [variance, epsilon], column)], column
        )
        inverse = emit.op("Reciprocal", "inverse", [deviation], column)
    else:
        floor = emit.constant("floor", np.array([SMALLEST], np.float32))
        deviation = emit.op(
            "Sqrt", "deviation", [emit.op("Max", "variance_guarded", [floor, variance], column)], column
        )
        inverse = emit.op(
            "Div", "inverse", [emit.constant("root_gain", np.array([gain**0.5], np.float32)), deviation], column
        )
    out = emit.op("Mul", "normalised", [centred, inverse], shape)
    if scale is not None and shift is not None:
        out = emit.op("Mul", "scaled", [out, emit.constant("scale", scale)], shape)
        out = emit.op("Add", "shifted", [out, emit.constant("shift", shift)], shape)
    replace_value(node.outputs[0], out)
