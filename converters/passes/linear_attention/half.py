"""Linear attention whose sums fit into half precision, which holds 2^-14 to 65504.

out = q (kᵀv) / (q Σk + ε) does not change when k is multiplied by a number c and ε with it: k stands once above and
once below the line, and φ(c k) = c φ(k) for c > 0. With c = 2^-n ≈ 1/N the sums over N tokens become means, whose size
does not grow with the image, and a power of two moves no digit. c goes into the projection that gives k, so it costs
nothing. One network at several resolutions takes the same c at all, for a number of tokens between theirs, so that its
weights stay the same.

ε then is 1e-6 / N, which half precision takes for zero: 0/0 for a token whose q is zero. So ε gives way to a lower
bound of ``SMALLEST``, which changes no quotient whose denominator is above it. (Numbers between 2^-24 and 2^-14 cannot
be relied on: LiteRT tells the processor to take them for zero.)
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from converters.float16 import SMALLEST
from converters.passes.linear_attention.forms import Operands
from converters.passes.tools.graph import Emitter, constant_of, shape_of
from converters.passes.tools.linear import Linear

if TYPE_CHECKING:
    import onnx_ir as ir


def fit_half(operands: Operands, token_ratio: float = 1.0) -> Operands:
    """``operands`` with k scaled, and ε scaled or replaced, as the module says; a graph without ε gets a lower bound
    too. ``token_ratio`` is as in ``Target``.
    """
    gain = 2.0 ** -round(round(math.log2(operands.tokens * token_ratio), 6))
    key = operands.key
    if key is not None:
        key = Linear(key.source, key.weight * np.float32(gain), key.bias * np.float32(gain))
    return replace(
        operands,
        k=None if operands.k is None else _scaled(operands.emit, operands.k, gain),
        key=key,
        epsilon=max(operands.epsilon * gain, SMALLEST),
        epsilon_is_floor=operands.epsilon_is_floor or operands.epsilon * gain < SMALLEST,
    )


def _scaled(emit: Emitter, k: ir.Value, gain: float) -> ir.Value:
    """``gain`` · k for k = relu(y): by the weights of the convolution that gives y, else by a product."""
    shape = shape_of(k)
    assert shape is not None
    activation = k.producer()
    y = activation.inputs[0] if activation is not None and activation.op_type == "Relu" else None
    node = y.producer() if y is not None else None
    if node is not None and node.op_type == "Conv":
        weight, bias = constant_of(node.inputs[1]), constant_of(node.inputs[2]) if len(node.inputs) > 2 else None
        if weight is not None and (bias is not None or len(node.inputs) < 3 or node.inputs[2] is None):
            inputs = [node.inputs[0], emit.constant("k_mean_weight", (weight * gain).astype(np.float32))]
            if bias is not None:
                inputs.append(emit.constant("k_mean_bias", (bias * gain).astype(np.float32)))
            return emit.op(
                "Relu", "k_mean", [emit.op("Conv", "k_mean_projection", inputs, shape, **dict(node.attributes))], shape
            )
    return emit.op("Mul", "k_mean", [k, emit.constant("k_mean_gain", np.array([gain], np.float32))], shape)
