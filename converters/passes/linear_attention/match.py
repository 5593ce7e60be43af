"""Recognising ReLU linear attention by its algebra.

For each head, with φ = ReLU, dₖ key channels j, dᵥ value channels p, and N tokens m, n:

    KV[p, j]  = Σₘ v[p, m] · φ(k[j, m])           contraction over the tokens
    num[p, n] = Σⱼ KV[p, j] · φ(q[j, n])
    den[n]    = Σⱼ (Σₘ φ(k[j, m])) · φ(q[j, n])
    out[p, n] = num[p, n] / (den[n] + ε)          or  / max(den[n], ε)

The match starts at the division and reads the graph upwards. ``trace`` removes layout, so the order of operands,
transposes, one or three projections, and how heads are laid out do not matter: each factor becomes a table that names a
channel of a root tensor for each (head, j) or (head, p). Everything is checked on the element numbers, so a product
that merely looks alike, such as softmax attention's (contraction over channels) or another kernel's (no ReLU on q or
k), is refused with its reason.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from converters.passes.linear_attention.denominator import Numerator, read_denominator, strip_epsilon
from converters.passes.linear_attention.products import Factor, NoMatch, Product, channels_and_tokens, product
from converters.passes.tools.graph import inverted, shape_of
from converters.passes.tools.trace import Trace, Untraceable, trace
from evit_mobile.arrays import Array

if TYPE_CHECKING:
    import onnx_ir as ir


@dataclass(frozen=True)
class Attention:
    """One linear attention found in a graph; see the module's algebra.

    ``gain`` multiplies the result (scales of q, k, v that the denominator does not share). ``epsilon`` is relative to a
    denominator of unscaled q and k, added or, where ``epsilon_is_floor``, a lower bound. ``output`` is the division's
    result; ``positions``, of its shape, numbers its elements as (head · dᵥ + p) · N + n.
    """

    q: Factor
    k: Factor
    v: Factor
    tokens: int
    epsilon: float
    epsilon_is_floor: bool
    gain: float
    output: ir.Value
    positions: Array

    @property
    def heads(self) -> int:
        return int(self.q.channels.shape[0])


def match(division: ir.Node) -> Attention:
    """Read the attention that ends in ``division``: a Div, or a Mul by a reciprocal.

    Raises:
        NoMatch: it is none, or one in a form that is not known.
    """
    try:
        return _match(_quotient(division), division.outputs[0])
    except Untraceable as error:
        raise NoMatch(str(error), close=False) from error


@dataclass(frozen=True)
class _Quotient:
    """``numerator`` / ``denominator``; ``index`` has the denominator's elements in the order that meets the
    numerator's.
    """

    numerator: ir.Value
    denominator: ir.Value
    index: Array


def _quotient(node: ir.Node) -> _Quotient:
    left, right = node.inputs[0], node.inputs[1]
    if left is None or right is None:
        raise NoMatch("an operand is missing", close=False)
    if node.op_type == "Div":
        shape = shape_of(right) or ()
        return _Quotient(left, right, np.arange(int(np.prod(shape))).reshape(shape))
    for numerator, factor in ((left, right), (right, left)):
        inverse = trace(factor)
        denominator = inverted(inverse.root)
        if denominator is not None and not inverse.relu and inverse.scale == 1.0 and not (inverse.index < 0).any():
            return _Quotient(numerator, denominator, inverse.index)
    raise NoMatch("no division", close=False)


def _match(quotient: _Quotient, output: ir.Value) -> Attention:
    shape = shape_of(output)
    if shape is None:
        raise NoMatch("its shape is not static", close=False)
    top = trace(quotient.numerator)
    outer = product(top.root)
    if outer is None and top.relu and _is_product_with(quotient.denominator, top.root):
        raise NoMatch("q is divided before its product with KᵀV: divide that product")
    if outer is None or top.relu or (top.index < 0).any():
        raise NoMatch("its numerator is no matrix product", close=False)
    q, kv, flipped = _query_and_state(outer)
    inner = product(kv.root)
    if inner is None:
        raise NoMatch("KᵀV has no static shape", close=False)
    k, v, k_channels, v_channels, tokens = _key_and_value(inner, kv)
    q_channels, q_tokens = channels_and_tokens(q, tokens, "q")
    # The outer product's elements are numbered (head, p, n), or (head, n, p) where q stood on the left.
    head, row, column = np.unravel_index(np.broadcast_to(top.index, shape), outer.shape)
    p, n = (column, q_tokens[row]) if flipped else (row, q_tokens[column])
    used = np.unique(p)
    query, key = Factor(q.root, q_channels, True), Factor(k.root, k_channels, True)
    value = Factor(v.root, v_channels[:, used], v.relu)
    if (value.channels < 0).any():
        raise NoMatch("the numerator holds constant rows")
    scale = q.scale * kv.scale * inner.left.scale * inner.right.scale
    numerator = Numerator(query, key, v_channels, top.root, outer.shape, flipped, q_tokens, tokens, scale, head, n)
    epsilon, is_floor, den_scale = read_denominator(quotient.denominator, quotient.index, numerator)
    positions = (head * len(used) + np.searchsorted(used, p)) * tokens + n
    if not np.array_equal(np.sort(positions, axis=None), np.arange(query.channels.shape[0] * len(used) * tokens)):
        raise NoMatch("the division does not hold each output once")
    return Attention(
        query, key, value, tokens, epsilon / den_scale, is_floor, top.scale * scale / den_scale, output, positions
    )


def _is_product_with(denominator: ir.Value, root: ir.Value) -> bool:
    """Whether ``denominator`` is a matrix product, guarded or not, that has elements of ``root`` as a factor."""
    core, _, _ = strip_epsilon(trace(denominator).root)
    factors = product(trace(core).root)
    return factors is not None and any(side.root is root for side in (factors.left, factors.right))


def _query_and_state(outer: Product) -> tuple[Trace, Trace, bool]:
    """q [heads, r, n], KV [heads, p, r], and whether q stood on the left."""
    left_is_state, right_is_state = (_is_product(side.root) for side in (outer.left, outer.right))
    if left_is_state == right_is_state:
        raise NoMatch("not a product of q and KᵀV", close=False)
    q, kv = (outer.right, outer.left) if left_is_state else (outer.left, outer.right)
    if kv.relu:
        raise NoMatch("KᵀV goes through a ReLU")
    if not q.relu:
        raise NoMatch("q has no ReLU: another kernel, or none")
    return q.channel_major(), kv, not left_is_state


def _is_product(value: ir.Value) -> bool:
    node = value.producer()
    return node is not None and node.op_type == "MatMul"


def _key_and_value(inner: Product, kv: Trace) -> tuple[Trace, Trace, Array, Array, int]:
    """k, v, their channel tables [heads, r] and [heads, p] in the order in which KV [heads, p, r] is read, and the
    tokens.
    """
    if (kv.index < 0).any():
        raise NoMatch("KᵀV holds constants")
    if not (inner.left.relu or inner.right.relu):
        raise NoMatch("k has no ReLU: another kernel, or none")
    tokens = int(inner.left.index.shape[2])
    left_channels, left_tokens = channels_and_tokens(inner.left, tokens, "the first factor of KᵀV")
    right_channels, right_tokens = channels_and_tokens(inner.right, tokens, "the second factor of KᵀV")
    if not np.array_equal(left_tokens, right_tokens):
        raise NoMatch("k and v do not meet token by token")
    batch, i, j = np.unravel_index(kv.index, inner.shape)
    left, right = left_channels[batch, i], right_channels[batch, j]
    for k, v, k_full, v_full in ((inner.left, inner.right, left, right), (inner.right, inner.left, right, left)):
        # k is what the product with q sums over, the last axis of KV as it is read; v is what stays.
        if k.relu and (k_full == k_full[:, :1, :]).all() and (v_full == v_full[:, :, :1]).all():
            return k, v, k_full[:, 0, :], v_full[:, :, 0], tokens
    raise NoMatch("q's channels do not meet k's")
