"""Linear layers as values: what a Gemm, or a 1x1 convolution, computes from its source."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from converters.passes.tools.graph import Emitter, constant_of, shape_of
from evit_mobile.arrays import Array

if TYPE_CHECKING:
    import onnx_ir as ir


@dataclass(frozen=True)
class Linear:
    """y = W x + b over the channels of ``source``.

    Attributes:
        source: [M, I] for a Gemm, [1, I, H, W] for a 1x1 convolution; its shape is static.
        weight: W, [O, I].
        bias: b, [O]; zeros where the layer has none.
    """

    source: ir.Value
    weight: Array
    bias: Array

    def rows(self, table: Array) -> Linear:
        """The layer that gives only the outputs ``table``, in that order."""
        return Linear(self.source, self.weight[table], self.bias[table])

    def emit_gemm(self, emitter: Emitter) -> ir.Value:
        """The result [M, O] by a Gemm, for a source [M, I]."""
        shape = shape_of(self.source)
        outputs, inputs = self.weight.shape
        if shape is None or shape[1:] != (inputs,):
            raise ValueError(f"a Gemm needs a source [M, {inputs}], this one is {shape}")
        operands = [self.source, emitter.constant("weight", self.weight)]
        if self.bias.any() or emitter.opset < 11:  # before which a Gemm must have one
            operands.append(emitter.constant("bias", self.bias))
        return emitter.op("Gemm", "linear", operands, (shape[0], outputs), transB=1)


def linear_of_gemm(node: ir.Node | None) -> Linear | None:
    """The layer that a Gemm is; None where ``node`` is none by constants, or its source is not a static [M, I]."""
    if node is None or node.op_type != "Gemm" or node.domain != "":
        return None
    source, weight = node.inputs[0], constant_of(node.inputs[1])
    scales = [node.attributes.get_float(name, 1.0) for name in ("alpha", "beta")]
    if source is None or weight is None or node.attributes.get_int("transA", 0) != 0 or scales != [1.0, 1.0]:
        return None
    weight = weight if node.attributes.get_int("transB", 0) != 0 else weight.T
    bias: Array = np.zeros(len(weight), np.float32)
    if len(node.inputs) > 2 and node.inputs[2] is not None:
        constant = constant_of(node.inputs[2])
        if constant is None or constant.shape != bias.shape:
            return None
        bias = constant
    return Linear(source, weight, bias) if shape_of(source) is not None else None
