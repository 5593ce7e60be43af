"""Masks of attention that every precision can hold.

Given: softmax(scores + M) with constant M, or softmax(where(C, scores, m)) with constant C and m, where what is to be
hidden is minus infinity, the lowest float32, or another number that leaves half precision.
Result: softmax(scores + M') with a number in its place that is as good as any lower one: the exponential of it is zero.
A constant that chooses becomes one that is added, which the delegate takes. A row that hides everything stays as it is:
its softmax is the scores' own, or 1 / N, or not a number, by how low its mask is.

Given too: where(isnan(P), 0, P) behind such a softmax P, as PyTorch's scaled_dot_product_attention has it for masks of
booleans.
Result: P, whose rows are times 0 where minus infinity hides everything.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from converters.passes.base import NodePass, Refused, Rewrite
from converters.passes.tools.graph import (
    Emitter,
    constant_of,
    replace_value,
    scalar_of,
    shape_of,
    sole_consumer,
    where,
)
from evit_mobile.arrays import Array
from evit_mobile.specs import Precision, Target

if TYPE_CHECKING:
    import onnx_ir as ir

#: A number of a mask that hides: its exponential is zero in every precision.
_HIDES = -(2.0**13)
#: What stands in its place. In half precision an eighth of the range, so that scores of thousands fit beside it; in
#: others so low that it takes up any score.
_LOWEST = {Precision.FP16: _HIDES}
_LOWEST_FLOAT = -1e30


@dataclass(frozen=True)
class _Masked:
    """``scores``, and which of them are hidden: where ``mask``, which broadcasts to them, is lower than any score."""

    scores: ir.Value
    mask: Array
    is_chosen: bool


class AttentionMask(NodePass):
    """Rewrites the masks of softmaxes that are chosen, or too low for the precision."""

    name = "attention-mask"
    reason = "a choice by a constant leaves the delegate, and fp16 ends at -65504"
    op_types = frozenset({"Softmax"})

    def match(self, node: ir.Node, target: Target) -> Rewrite | None:
        value = node.inputs[0]
        masking = value.producer() if value is not None else None
        if value is None or masking is None or sole_consumer(value) is not node:
            return None
        masked = _masked(masking)
        guard = _guard(node)
        if masked is None or not (masked.is_chosen or guard is not None or target.precision is Precision.FP16):
            return None
        hidden = masked.mask <= _HIDES
        if not hidden.any():
            return None
        shape = shape_of(value)
        if shape is None or shape != shape_of(masked.scores):
            raise Refused("its shape is not static, or the mask is larger than the scores")
        if node.attributes.get_int("axis", -1) not in (-1, len(shape) - 1):
            raise Refused("it is not along the last axis")
        blind = np.asarray(np.broadcast_to(hidden, shape).all(axis=-1))
        if blind.any() and (guard is None or not np.isneginf(np.broadcast_to(masked.mask, shape)[blind]).all()):
            raise Refused("a row of it hides everything")
        added = np.where(hidden, _LOWEST.get(target.precision, _LOWEST_FLOAT), masked.mask).astype(np.float32)

        def rewrite(emit: Emitter) -> None:
            replace_value(value, emit.op("Add", "masked", [masked.scores, emit.constant("mask", added)], shape))
            if guard is None:
                return
            result, behind = node.outputs[0], emit.before(guard, where(guard))
            if blind.any():
                seeing = behind.constant("seeing", np.where(blind, 0, 1).astype(np.float32)[..., np.newaxis])
                result = behind.op("Mul", "seen", [result, seeing], shape)
            replace_value(guard.outputs[0], result)

        return rewrite


def _guard(softmax: ir.Node) -> ir.Node | None:
    """The node that gives 0 where the result of ``softmax`` is not a number, and reads it beside the node that tells;
    None where there is none.
    """
    result = softmax.outputs[0]
    readers = {node.op_type: node for node in result.consumers()}
    if result.is_graph_output() or set(readers) != {"IsNaN", "Where"} or len(result.uses()) != 2:
        return None
    test, guard = readers["IsNaN"].outputs[0], readers["Where"]
    condition, zero, kept = guard.inputs
    is_guard = condition is test and kept is result and scalar_of(zero) == 0
    return guard if is_guard and sole_consumer(test) is guard else None


def _masked(node: ir.Node) -> _Masked | None:
    """What ``node`` hides; None where it is no mask by constants."""
    if node.domain != "":
        return None
    if node.op_type == "Add":
        for scores, other in (tuple(node.inputs), tuple(node.inputs)[::-1]):
            mask = constant_of(other)
            if scores is not None and mask is not None and constant_of(scores) is None:
                return _Masked(scores, mask, is_chosen=False)
    if node.op_type == "Where":
        condition, kept, other = node.inputs
        chosen = constant_of(condition)
        if chosen is None:
            return None
        for scores, low, is_kept in ((kept, other, chosen), (other, kept, ~chosen)):
            number = constant_of(low)
            if scores is not None and number is not None and constant_of(scores) is None:
                hides = np.where(is_kept, _HIDES, number) <= _HIDES
                return _Masked(scores, np.where(is_kept, 0.0, number), is_chosen=True) if hides.all() else None
    return None
