"""The fastest plan whose noise stays within a bound: what an op costs and what it adds to the noise, on one scale.

An op's cost is its price plus its noise times a rate. For each rate the cheapest plan is a minimum cut (``plan.cut``),
and it is the fastest of all plans that have no more noise than it; the higher the rate, the less noise. So the rate is
sought at which the noise just stays within the bound.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from converters.quantize.delegated import CLAMPS, hybrid_refusal, int8_refusal
from converters.quantize.noise import Noise
from converters.quantize.plan import OpPlan, cut, denominators, int8_reason, name_of
from converters.quantize.prices import Features, Prices, features_of, kind_of
from evit_mobile.specs import Precision
from evit_mobile.tflite.graph import Graph, Op

#: Halvings of the interval of rates: a hundredth of a percent of the price of a model in float.
_HALVINGS = 40
#: Highest rate: a noise of -120 dB then costs as much as the whole model.
_STEEPEST = 1e12


@dataclass(frozen=True)
class Family:
    """What the ops of a plan may be.

    Attributes:
        prices: of the core.
        floating: the precision of what is not quantised: fp32 or fp16.
        int8: whether ops may be int8; hybrid layers are always allowed.
    """

    prices: Prices
    floating: Precision
    int8: bool


class Weighing:
    """The plans of one model.

    Args:
        graph: of the float32 model.
        family: what its ops may be.
        noise: what rounding adds.
        refused: ops that must stay float for what calibration showed, with the reason.
    """

    def __init__(self, graph: Graph, family: Family, noise: Noise, refused: Mapping[int, str]) -> None:
        self._graph, self._family, self._noise = graph, family, noise
        never = {op.index: reason for op in graph.ops if (reason := int8_refusal(op, graph)) is not None}
        self._forced: dict[int, str] = {**denominators(graph), **refused, **never}
        self._rate = 0.0
        self._is_layer = {op.index: hybrid_refusal(op, graph) is None for op in graph.ops}

    def within(self, bound: float, *, int8_input: bool, int8_output: bool) -> list[OpPlan]:
        """The fastest plan whose noise is at most ``bound``, a share of the signal's power."""
        ends = int8_input, int8_output
        best = self._at(0.0, ends)
        if self.noise_of(best) <= bound:
            return best
        scale = self.price_of([]) / bound
        low, high = 0.0, _STEEPEST
        best = self._at(high * scale, ends)
        for _ in range(_HALVINGS):
            middle = math.sqrt(max(low, 1e-6) * high)
            plan = self._at(middle * scale, ends)
            if self.noise_of(plan) <= bound:
                best, high = plan, middle
            else:
                low = middle
        return best

    def noise_of(self, plan: Sequence[OpPlan]) -> float:
        """What the noise of a plan adds up to, a share of the signal's power."""
        int8 = {item.op for item in plan if item.precision is Precision.INT8}
        hybrid = sum(self._noise.hybrid.get(item.op, 0.0) for item in plan if item.precision is Precision.DYNAMIC)
        rounded = {
            self._noise.holders.get(tensor, tensor)
            for index in int8
            for tensor in (*self._graph.ops[index].inputs, *self._graph.ops[index].outputs)
        }
        return (
            hybrid
            + sum(self._noise.of_weights(index) for index in int8)
            + sum(self._noise.of_tensor(tensor) for tensor in rounded)
        )

    def price_of(self, plan: Sequence[OpPlan]) -> float:
        """The price of the ops of a plan without the conversions between them; of no plan, all of them float."""
        chosen = {item.op: item.precision for item in plan}
        return sum(self._price(op, chosen.get(op.index, self._family.floating)) for op in self._graph.ops)

    def of(self, op: Op) -> tuple[float, float]:
        """See ``plan.Costs``."""
        rounded = sum(self._noise.of_tensor(tensor) for tensor in op.outputs if tensor not in self._noise.holders)
        as_int8 = self._price(op, Precision.INT8) + self._rate * (self._noise.of_weights(op.index) + rounded)
        return min(self._floats(op).values()), as_int8

    def quantise(self, tensor: int) -> float:
        """See ``plan.Costs``."""
        return self._conversion("QUANTIZE", tensor) + self._rate * self._noise.of_tensor(tensor)

    def dequantise(self, tensor: int) -> float:
        """See ``plan.Costs``."""
        return self._conversion("DEQUANTIZE", tensor)

    def _at(self, rate: float, ends: tuple[bool, bool]) -> list[OpPlan]:
        self._rate = rate
        int8: set[int] = set()
        if self._family.int8:
            int8 = cut(self._graph, self._forced, self, int8_input=ends[0], int8_output=ends[1])
        return [OpPlan(op.index, op.type, name_of(op, self._graph), *self._choice(op, int8)) for op in self._graph.ops]

    def _choice(self, op: Op, int8: set[int]) -> tuple[Precision, str]:
        if op.index in int8:
            return Precision.INT8, int8_reason(op)
        floats = self._floats(op)
        if min(floats, key=lambda precision: floats[precision]) is Precision.DYNAMIC:
            return Precision.DYNAMIC, "int8 weights save time here, and their noise is within what is asked for"
        kept = "it is fastest so, or its noise would take more of what is allowed than the time is worth"
        return self._family.floating, self._forced.get(op.index, kept)

    def _floats(self, op: Op) -> dict[Precision, float]:
        """The costs that an op has on the float side."""
        costs = {self._family.floating: self._price(op, self._family.floating)}
        if self._is_layer[op.index] and op.index in self._noise.hybrid:
            noise = self._rate * self._noise.hybrid[op.index]
            costs[Precision.DYNAMIC] = self._price(op, Precision.DYNAMIC) + noise
        return costs

    def _price(self, op: Op, precision: Precision) -> float:
        if not op.depends_on_input or (precision is Precision.INT8 and op.type in CLAMPS):
            return 0.0
        return self._family.prices.of(kind_of(op, self._graph), precision, features_of(op, self._graph))

    def _conversion(self, kind: str, tensor: int) -> float:
        elements = math.prod(self._graph.tensors[tensor].shape)
        features: Features = (0, elements, elements, 0, 1)
        return self._family.prices.of(kind, Precision.INT8, features)


def rounded_when_all_is_int8(graph: Graph, refused: Mapping[int, str]) -> list[OpPlan]:
    """The plan with everything in int8 that may be: whose tensors can be rounded."""
    forced = {**denominators(graph), **refused}
    return [
        OpPlan(
            op.index,
            op.type,
            name_of(op, graph),
            Precision.FP32 if op.index in forced or int8_refusal(op, graph) else Precision.INT8,
            "",
        )
        for op in graph.ops
    ]
