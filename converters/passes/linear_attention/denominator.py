"""Reading the denominator of a linear attention, den[head, n] = Σⱼ (Σₘ φ(k[j, m])) · φ(q[j, n]), in the forms that
exporters write.

1. Rows of the numerator's own product where V was padded with ones: Σⱼ (Σₘ 1 · φ(k)) · φ(q).
2. A matrix product of φ(q) and the token sum (or mean) of φ(k).
3. A sum over channels of the elementwise product of the two.

In each, every element is a sum over pairs (channel of q, channel of k) at one token of q; the pairs must be those of
the numerator's head.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from converters.passes.linear_attention.products import Factor, NoMatch, channels_and_tokens, product
from converters.passes.tools.graph import axes_of, scalar_of, shape_of
from converters.passes.tools.trace import ONE, Trace, trace
from evit_mobile.arrays import Array

if TYPE_CHECKING:
    import onnx_ir as ir


@dataclass(frozen=True)
class Numerator:
    """What the numerator showed, for the denominator to agree with.

    ``root`` is the product's output, numbered in ``shape`` as (head, p, n), or (head, n, p) where ``flipped``;
    ``q_tokens`` [n] are the image's tokens. ``head`` and ``token`` have the division's shape and say what each element
    of it is.
    """

    q: Factor
    k: Factor
    v_channels: Array
    root: ir.Value
    shape: tuple[int, int, int]
    flipped: bool
    q_tokens: Array
    tokens: int
    scale: float
    head: Array
    token: Array


@dataclass(frozen=True)
class _Sums:
    """Elements that are sums over pairs: ``q`` and ``k`` are channels [rows, r]; ``row`` and ``token`` say it for each
    element.
    """

    q: Array
    k: Array
    row: Array
    token: Array
    scale: float


def read_denominator(value: ir.Value, index: Array, numerator: Numerator) -> tuple[float, bool, float]:
    """ε as it stands in the graph, whether it is a lower bound (else it is added), and the scale of what it is added
    to.

    Args:
        value: what is divided by.
        index: which element of it divides each element of the numerator, but for broadcasting: layout may stand
            between the reciprocal and the product.
        numerator: what the numerator showed.

    Raises:
        NoMatch: ``value`` is not this numerator's denominator.
    """
    guarded = trace(value)
    core, epsilon, is_floor = strip_epsilon(guarded.root)
    den = trace(core)
    if guarded.relu or den.relu or (guarded.index < 0).any() or (den.index < 0).any():
        raise NoMatch("the denominator is constant or goes through a ReLU")
    epsilon *= guarded.scale
    places = guarded.index.reshape(-1)[index]
    den = replace(den, index=den.index.reshape(-1)[places], scale=den.scale * guarded.scale)
    if den.root is numerator.root:
        _check_padded(den, numerator)
        return epsilon, is_floor, den.scale * numerator.scale
    sums = _matrix_sums(den, numerator) or _elementwise_sums(den, numerator)
    if sums is None:
        raise NoMatch("the denominator is not q times the sum of k")
    shape = numerator.head.shape
    row, token = np.broadcast_to(sums.row, shape), np.broadcast_to(sums.token, shape)
    if not np.array_equal(token, numerator.token):
        raise NoMatch("the denominator belongs to other tokens than the numerator")
    actual, expected = _codes(sums.q, sums.k), _codes(numerator.q.channels, numerator.k.channels)
    if actual.shape[1] != expected.shape[1]:
        raise NoMatch("the denominator sums over other channels than the numerator")
    # The same few (row, head) places repeat over channels and tokens: compare each once.
    place = np.unique(row.astype(np.int64).ravel() * len(expected) + numerator.head.ravel())
    if not np.array_equal(actual[place // len(expected)], expected[place % len(expected)]):
        raise NoMatch("the denominator belongs to other heads than the numerator")
    return epsilon, is_floor, den.scale * sums.scale


def strip_epsilon(value: ir.Value) -> tuple[ir.Value, float, bool]:
    """What ``value`` guards, its ε, and whether that is a lower bound; ``value`` itself and 0 where it has none."""
    node = value.producer()
    if node is None or node.op_type not in ("Add", "Max", "Clip") or len(node.inputs) < 2:
        return value, 0.0, False
    if node.op_type == "Clip" and len(node.inputs) > 2 and node.inputs[2] is not None:
        return value, 0.0, False
    for core, constant in ((node.inputs[0], node.inputs[1]), (node.inputs[1], node.inputs[0])):
        epsilon = scalar_of(constant)
        if epsilon is not None and core is not None and epsilon >= 0 and shape_of(core) == shape_of(value):
            return core, epsilon, node.op_type != "Add"
    return value, 0.0, False


def _check_padded(den: Trace, numerator: Numerator) -> None:
    head, row, column = np.unravel_index(np.broadcast_to(den.index, numerator.head.shape), numerator.shape)
    p, n = (column, row) if numerator.flipped else (row, column)
    if not (numerator.v_channels[head, p] == ONE).all():
        raise NoMatch("the denominator is a row of the product that does not belong to ones")
    if not np.array_equal(head, numerator.head) or not np.array_equal(numerator.q_tokens[n], numerator.token):
        raise NoMatch("the denominator belongs to other heads or tokens than the numerator")


def _matrix_sums(den: Trace, numerator: Numerator) -> _Sums | None:
    sides = product(den.root)
    if sides is None:
        return None
    for q, other, q_is_left in ((sides.left, sides.right, True), (sides.right, sides.left, False)):
        total = _token_sum(other, numerator)
        if total is None or q.root is not numerator.q.root or not q.relu:
            continue
        k_channels, k_scale = total
        q_channels, q_tokens = channels_and_tokens(q.channel_major(), numerator.tokens, "the denominator's q")
        batch, first, second = np.unravel_index(den.index, sides.shape)
        n, p = (first, second) if q_is_left else (second, first)
        rows, width = k_channels.shape[1:]
        q_rows = np.repeat(q_channels[:, None, :], rows, axis=1).reshape(-1, width)
        return _Sums(q_rows, k_channels.reshape(-1, width), batch * rows + p, q_tokens[n], q.scale * k_scale)
    return None


def _elementwise_sums(den: Trace, numerator: Numerator) -> _Sums | None:
    node = den.root.producer()
    if node is None or node.op_type != "ReduceSum" or node.inputs[0] is None:
        return None
    factors, shape = node.inputs[0].producer(), shape_of(node.inputs[0])
    if factors is None or factors.op_type != "Mul" or shape is None:
        return None
    axes = axes_of(node, len(shape))
    left, right = factors.inputs
    if axes is None or left is None or right is None:
        return None
    for q_value, k_value in ((left, right), (right, left)):
        q, total = trace(q_value), _token_sum(trace(k_value), numerator)
        if total is None or q.root is not numerator.q.root or not q.relu:
            continue
        k_channels, k_scale = total
        q_flat = _reduced_last(np.broadcast_to(q.index, shape), axes)
        k_flat = _reduced_last(np.broadcast_to(k_channels, shape), axes)
        tokens = q_flat % numerator.tokens
        if (q_flat < 0).any() or not (tokens == tokens[:, :1]).all():
            return None
        return _Sums(q_flat // numerator.tokens, k_flat, den.index, tokens[:, 0][den.index], q.scale * k_scale)
    return None


def _token_sum(total: Trace, numerator: Numerator) -> tuple[Array, float] | None:
    """Channels of k, in the shape of ``total``, where it holds sums of φ(k) over all tokens; and the scale of these
    sums.
    """
    node = total.root.producer()
    if node is None or node.op_type not in ("ReduceSum", "ReduceMean") or node.inputs[0] is None:
        return None
    k = trace(node.inputs[0])
    axes = axes_of(node, k.index.ndim)
    if axes is None or k.root is not numerator.k.root or not k.relu or (k.index < 0).any() or (total.index < 0).any():
        return None
    flat = _reduced_last(k.index, axes)
    channels = flat // numerator.tokens
    if flat.shape[1] != numerator.tokens or not (channels == channels[:, :1]).all():
        return None
    if not np.array_equal(
        np.sort(flat % numerator.tokens, axis=1), np.broadcast_to(np.arange(numerator.tokens), flat.shape)
    ):
        return None
    scale = k.scale * total.scale / (numerator.tokens if node.op_type == "ReduceMean" else 1)
    return channels[:, 0][total.index], scale


def _reduced_last(index: Array, axes: tuple[int, ...]) -> Array:
    """[kept, reduced], both in row-major order."""
    kept = [axis for axis in range(index.ndim) if axis not in axes]
    size = int(np.prod([index.shape[axis] for axis in axes]))
    return index.transpose(*kept, *axes).reshape(-1, size)


def _codes(q: Array, k: Array) -> Array:
    """Pairs (q, k) [rows, r] as sorted numbers: sums do not care about the order."""
    codes: Array = np.sort(q.astype(np.int64) * 2**32 + k, axis=1)
    return codes
