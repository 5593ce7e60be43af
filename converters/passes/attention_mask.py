"""Masks of attention that every precision can hold.

Given: softmax(scores + M) with constant M, or softmax(where(C, scores, m)) with constant C and m, where what is to be
hidden is minus infinity, the lowest float32, or another number that leaves half precision.
Result: softmax(scores + M') with a number in its place that is as good as any lower one: the exponential of it is zero.
A constant that chooses becomes one that is added, which the delegate takes. A row that hides everything stays as it is:
its softmax is the scores' own, or 1 / N, or not a number, by how low its mask is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from converters.passes.base import NodePass, Refused, Rewrite
from converters.passes.tools.graph import Emitter, constant_of, replace_value, shape_of, sole_consumer
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
        if masked is None or not (masked.is_chosen or target.precision is Precision.FP16):
            return None
        hidden = masked.mask <= _HIDES
        if not hidden.any():
            return None
        shape = shape_of(value)
        if shape is None or shape != shape_of(masked.scores):
            raise Refused("its shape is not static, or the mask is larger than the scores")
        if node.attributes.get_int("axis", -1) not in (-1, len(shape) - 1):
            raise Refused("it is not along the last axis")
        if np.broadcast_to(hidden, shape).all(axis=-1).any():
            raise Refused("a row of it hides everything")
        added = np.where(hidden, _LOWEST.get(target.precision, _LOWEST_FLOAT), masked.mask).astype(np.float32)

        def rewrite(emit: Emitter) -> None:
            replace_value(value, emit.op("Add", "masked", [masked.scores, emit.constant("mask", added)], shape))

        return rewrite


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
