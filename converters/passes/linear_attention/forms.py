"""The canonical forms of linear attention: every op is delegated, and what differs is how often the tokens are moved.

Shapes: N = H·W tokens, h heads, d channels a head (dₖ for q and k, dᵥ for v), x [1, C, H, W] the input of the
projections, P [h·dᵥ, O] the output projection with its bias b. q, k, v are outputs of convolutions, which lie in memory
as [N, h, d].

``channel-major``  q, k, v as [h, d, N]: KV = v φ(k)ᵀ, out = (KV φ(q)) / (Σφ(k)ᵀ φ(q)), back to [N, h·dᵥ], then P. Four
transposes. ``token-major``    q, v as [h, N, d], k as [h, d, N]: KV = φ(k)ᵀ v, out = (φ(q) KV) / (φ(q) Σφ(k)), back,
then P. Four transposes. ``fold-output``    KVP = KVₕ Pₕ [h·dₖ, O] once an image, then out = (φ(q) / den) KVP + b: q is
divided and multiplied where it lies, and
                   the product over all tokens with KVP replaces the ones with KV and with P. k and v are transposed.
``gram``           Where v = x Wᵥ + bᵥ has no activation, φ(k)ᵀ v = (φ(k)ᵀ x) Wᵥ + Σφ(k) bᵥᵀ: G = φ(k)ᵀ x [h·dₖ, C]
takes as many
                   multiplications as v's projection; v, its transpose and φ(k)ᵀ v are never made. G Wᵥ takes h·dₖ·dᵥ·C,
                   once an image: worth it where N > C. Then as ``fold-output``. Only k is transposed.
``gram-matmul``    As ``gram``, φ(k)ᵀ [h·dₖ, N] made as Wₖ xᵀ: nothing is transposed, but bias and ReLU of k are passes
of their own.
``gram-blocks``    As ``gram``, G as the sum of the G of blocks of tokens: a row of φ(k)ᵀ and a column of x, N numbers
each, do not stay in a core's first cache from one product of the matrix product to the next, those of a block do.

The last four take den [N, h, 1] as an elementwise product of φ(q) and Σφ(k), summed over the last axis. Without a
projection, or with one that must stay a convolution, only the first two can be had.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

from converters.passes.tools.graph import Emitter, shape_of
from converters.passes.tools.linear import Linear

if TYPE_CHECKING:
    import onnx_ir as ir

#: Metadata of the nodes that give Σφ(k) and the denominator: ``BLOCK ROLE``, the block being the name of the division
#: that was replaced.
ROLE, KEY_SUM, DENOMINATOR = "evit_mobile.attention", "key-sum", "denominator"

#: Tokens of a part in ``gram-blocks``: 96 channels of it are 100 KB, and 192 rows of φ(k)ᵀ 200 KB, which a second cache
#: holds together.
BLOCK = 256

_NHWC = (0, 2, 3, 1)
_NCHW = (0, 3, 1, 2)


class Form(StrEnum):
    """A canonical form; the module says what each computes."""

    CHANNEL_MAJOR = "channel-major"
    TOKEN_MAJOR = "token-major"
    FOLD_OUTPUT = "fold-output"
    GRAM = "gram"
    GRAM_MATMUL = "gram-matmul"
    GRAM_BLOCKS = "gram-blocks"

    @property
    def folds_projection(self) -> bool:
        """Whether the output projection becomes part of the attention."""
        return self not in (Form.CHANNEL_MAJOR, Form.TOKEN_MAJOR)

    @property
    def folds_value(self) -> bool:
        """Whether v's projection becomes part of the attention."""
        return self in (Form.GRAM, Form.GRAM_MATMUL, Form.GRAM_BLOCKS)


@dataclass(frozen=True)
class Operands:
    """What a form is built from.

    ``q``, ``k`` [1, h·dₖ, H, W] after their ReLU and ``v`` [1, h·dᵥ, H, W], each made when it is asked for. ``key`` is
    the projection that ``k`` is the ReLU of, ``value`` the one that gives ``v``, where there are such. ``projection``
    is P: its source is unused.
    """

    emit: Emitter
    q: ir.Value
    k: ir.Value | None
    v: ir.Value | None
    key: Linear | None
    value: Linear | None
    projection: Linear | None
    heads: int
    key_width: int
    value_width: int
    epsilon: float
    epsilon_is_floor: bool
    gain: float

    @property
    def image(self) -> tuple[int, int]:
        """(H, W)."""
        shape = shape_of(self.q)
        assert shape is not None
        return shape[2], shape[3]

    @property
    def tokens(self) -> int:
        """N = H · W."""
        height, width = self.image
        return height * width


def build(form: Form, operands: Operands) -> ir.Value:
    """The attention in ``form``: [1, O, H, W] where the form folds the projection, else [1, h·dᵥ, H, W]."""
    if form is Form.CHANNEL_MAJOR:
        return _channel_major(operands)
    if form is Form.TOKEN_MAJOR:
        return _token_major(operands)
    if form is Form.FOLD_OUTPUT:
        k = _head_major(operands, "k", operands.k, operands.key_width)
        state, sums = _state(operands, k), _sum_over_tokens(operands, k)
    else:
        gram, sums = _gram_in(form, operands)
        state = _weighted(operands, gram, sums)
    return _apply_folded(operands, state, sums)


def _channel_major(o: Operands) -> ir.Value:
    emit, (h, dk, dv, n) = o.emit, (o.heads, o.key_width, o.value_width, o.tokens)
    q, k = _head_major(o, "q", o.q, dk), _head_major(o, "k", o.k, dk)
    state = _scaled(
        o,
        emit.op(
            "MatMul", "kv", [_head_major(o, "v", o.v, dv), emit.transpose("k_token_major", k, (0, 2, 1))], [h, dv, dk]
        ),
    )
    sums = emit.reshape("k_sum_row", _sum_over_tokens(o, k), [h, 1, dk])
    numerator = emit.op("MatMul", "numerator", [state, q], [h, dv, n])
    denominator = _guarded(o, emit.op("MatMul", "denominator", [sums, q], [h, 1, n]))
    out = emit.op("Div", "attended", [numerator, denominator], [h, dv, n])
    return emit.reshape("attended_image", out, [1, h * dv, *o.image])


def _token_major(o: Operands) -> ir.Value:
    emit, (h, dk, dv, n) = o.emit, (o.heads, o.key_width, o.value_width, o.tokens)
    k = _head_major(o, "k", o.k, dk)
    state = _scaled(o, _state(o, k))
    q = emit.transpose("q_heads", emit.reshape("q", emit.transpose("q_nhwc", o.q, _NHWC), [n, h, dk]), (1, 0, 2))
    numerator = emit.op("MatMul", "numerator", [q, state], [h, n, dv])
    denominator = _guarded(o, emit.op("MatMul", "denominator", [q, _sum_over_tokens(o, k)], [h, n, 1]))
    out = emit.transpose("attended_tokens", emit.op("Div", "attended", [numerator, denominator], [h, n, dv]), (1, 0, 2))
    return emit.transpose("attended_image", emit.reshape("attended_nhwc", out, [1, *o.image, h * dv]), _NCHW)


def _apply_folded(o: Operands, state: ir.Value, sums: ir.Value) -> ir.Value:
    """(φ(q) / den) KVP + b [1, O, H, W] from KV [h, dₖ, dᵥ] and Σφ(k) [h, dₖ, 1]."""
    assert o.projection is not None
    emit, (h, dk, dv, n) = o.emit, (o.heads, o.key_width, o.value_width, o.tokens)
    outputs = o.projection.weight.shape[0]
    weight = (o.projection.weight * np.float32(o.gain)).T.reshape(h, dv, outputs)
    folded = emit.op("MatMul", "kv_projected", [state, emit.constant("projection", weight)], [h, dk, outputs])
    q = emit.reshape("q", emit.transpose("q_nhwc", o.q, _NHWC), [n, h, dk])
    weighted = emit.op("Mul", "q_weighted", [q, emit.reshape("k_sum_row", sums, [1, h, dk])], [n, h, dk])
    denominator = _guarded(o, emit.reduce("ReduceSum", "denominator", weighted, 2))
    q = emit.reshape("q_tokens", emit.op("Div", "q_normalised", [q, denominator], [n, h, dk]), [1, n, h * dk])
    out = emit.op("MatMul", "attended", [q, emit.reshape("kv_rows", folded, [1, h * dk, outputs])], [1, n, outputs])
    if o.projection.bias.any():
        out = emit.op("Add", "biased", [out, emit.constant("projection_bias", o.projection.bias)], [1, n, outputs])
    return emit.transpose("attended_image", emit.reshape("attended_nhwc", out, [1, *o.image, outputs]), _NCHW)


def _state(o: Operands, k: ir.Value) -> ir.Value:
    """KV = φ(k)ᵀ v [h, dₖ, dᵥ] from k [h, dₖ, N]."""
    v = _head_major(o, "v", o.v, o.value_width)
    return o.emit.op(
        "MatMul", "kv", [k, o.emit.transpose("v_token_major", v, (0, 2, 1))], [o.heads, o.key_width, o.value_width]
    )


def _gram_in(form: Form, o: Operands) -> tuple[ir.Value, ir.Value]:
    if form is Form.GRAM_MATMUL:
        return _gram_of_product(o)
    return _gram(o, _blocks(o.tokens) if form is Form.GRAM_BLOCKS else 1)


def _gram(o: Operands, blocks: int) -> tuple[ir.Value, ir.Value]:
    """G = φ(k)ᵀ x [h, dₖ, C] and Σφ(k) [h, dₖ, 1], each the sum of those of ``blocks`` equal parts of the tokens."""
    assert o.value is not None and o.k is not None
    emit, rows, part = o.emit, o.heads * o.key_width, o.tokens // blocks
    inputs = o.value.weight.shape[1]
    x = emit.reshape("x", emit.transpose("x_nhwc", o.value.source, _NHWC), [blocks, part, inputs])
    k = emit.reshape("k", emit.transpose("k_nhwc", o.k, _NHWC), [blocks, part, rows])
    k = emit.transpose("k_channel_major", k, (0, 2, 1))
    gram = emit.op("MatMul", "gram_flat", [k, x], [blocks, rows, inputs])
    sums = emit.reduce("ReduceSum", "k_sum_flat", k, 2)
    if blocks > 1:
        sums = emit.reduce("ReduceSum", "k_sum_of_blocks", sums, 0)
        gram = emit.reduce("ReduceSum", "gram_of_blocks", gram, 0)
    return _by_head(o, gram, sums)


def _gram_of_product(o: Operands) -> tuple[ir.Value, ir.Value]:
    """The same, φ(k)ᵀ [h·dₖ, N] made as Wₖ xᵀ."""
    assert o.value is not None and o.key is not None
    emit, rows, n = o.emit, o.heads * o.key_width, o.tokens
    inputs = o.value.weight.shape[1]
    x = emit.reshape("x", emit.transpose("x_nhwc", o.value.source, _NHWC), [1, n, inputs])
    product = [emit.constant("k_weight", o.key.weight[None]), emit.transpose("x_channel_major", x, (0, 2, 1))]
    k = emit.op("MatMul", "k_product", product, [1, rows, n])
    k = emit.op("Add", "k_biased", [k, emit.constant("k_bias", o.key.bias[None, :, None])], [1, rows, n])
    k = emit.op("Relu", "k", [k], [1, rows, n])
    sums = emit.reduce("ReduceSum", "k_sum_flat", k, 2)
    return _by_head(o, emit.op("MatMul", "gram_flat", [k, x], [1, rows, inputs]), sums)


def _by_head(o: Operands, gram: ir.Value, sums: ir.Value) -> tuple[ir.Value, ir.Value]:
    """G [h, dₖ, C] and Σφ(k) [h, dₖ, 1], whose rows are all heads' in one."""
    h, dk, shape = o.heads, o.key_width, shape_of(gram)
    assert shape is not None
    gram = o.emit.reshape("gram", gram, [h, dk, shape[-1]])
    return gram, o.emit.reshape("k_sum", _marked(o, KEY_SUM, sums), [h, dk, 1])


def _weighted(o: Operands, gram: ir.Value, sums: ir.Value) -> ir.Value:
    """KV [h, dₖ, dᵥ] from G and Σφ(k)."""
    assert o.value is not None
    emit, (h, dk, dv) = o.emit, (o.heads, o.key_width, o.value_width)
    weight = o.value.weight.reshape(h, dv, -1).transpose(0, 2, 1)
    state = emit.op("MatMul", "kv_weighted", [gram, emit.constant("v_weight", weight)], [h, dk, dv])
    if not o.value.bias.any():
        return state
    shift = emit.op("Mul", "kv_shift", [sums, emit.constant("v_bias", o.value.bias.reshape(h, 1, dv))], [h, dk, dv])
    return emit.op("Add", "kv", [state, shift], [h, dk, dv])


def _blocks(tokens: int) -> int:
    """How many equal parts of at most ``BLOCK`` tokens there are; 1 where the tokens divide into much smaller ones
    alone.
    """
    count = next(count for count in range(-(-tokens // BLOCK), tokens + 1) if tokens % count == 0)
    return count if tokens // count >= BLOCK // 4 else 1


def _head_major(o: Operands, name: str, value: ir.Value | None, width: int) -> ir.Value:
    """[h, d, N] from [1, h·d, H, W], by way of the order in which it lies in memory."""
    assert value is not None
    rows = o.emit.reshape(f"{name}_rows", o.emit.transpose(f"{name}_nhwc", value, _NHWC), [o.tokens, o.heads, width])
    return o.emit.transpose(f"{name}_heads", rows, (1, 2, 0))


def _sum_over_tokens(o: Operands, k: ir.Value) -> ir.Value:
    """Σφ(k) [h, dₖ, 1] from [h, dₖ, N]."""
    return _marked(o, KEY_SUM, o.emit.reduce("ReduceSum", "k_sum", k, 2))


def _scaled(o: Operands, state: ir.Value) -> ir.Value:
    """``gain`` · KV: the smallest tensor that it can be multiplied to."""
    shape = shape_of(state)
    assert shape is not None
    if o.gain == 1.0:
        return state
    return o.emit.op("Mul", "kv_scaled", [state, o.emit.constant("gain", np.array([o.gain], np.float32))], shape)


def _guarded(o: Operands, denominator: ir.Value) -> ir.Value:
    """den + ε, or max(den, ε)."""
    shape = shape_of(denominator)
    assert shape is not None
    if o.epsilon == 0.0:
        return _marked(o, DENOMINATOR, denominator)
    epsilon = o.emit.constant("epsilon", np.array([o.epsilon], np.float32))
    # onnx2tf 2.6.7 takes max(x, c) for a ReLU where |c| <= 1e-6, which makes 0/0 of a zero query; it looks at the
    # second operand.
    op_type, operands = ("Max", [epsilon, denominator]) if o.epsilon_is_floor else ("Add", [denominator, epsilon])
    return _marked(o, DENOMINATOR, o.emit.op(op_type, "denominator_guarded", operands, shape))


def _marked(o: Operands, role: str, value: ir.Value) -> ir.Value:
    """``value``, its node saying what it is to the attention, so that its range can be looked up."""
    node = value.producer()
    assert node is not None
    node.metadata_props[ROLE] = f"{o.emit.prefix} {role}"
    return value
