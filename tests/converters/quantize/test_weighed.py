"""The plan of least cost at each rate. Oracle: all plans of a small network, weighed one by one."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from converters.quantize.noise import Noise, first_holders, layers_of
from converters.quantize.plan import OpPlan
from converters.quantize.prices import ANY, Prices, features_of, kind_of, price_of, prices_for, states_of
from converters.quantize.weighed import Family, Weighing
from evit_mobile.specs import Core, Precision, Resolution
from evit_mobile.tflite.file import Tflite
from evit_mobile.tflite.graph import Graph, Op

SIDE = Resolution(32, 32)
#: int8 saves multiplications, and conversions cost.
PRICES = Prices(
    "made up",
    "cycles",
    True,
    {
        ANY: {
            "fp32": [0, 1, 1, 0, 0],
            "fp16": [0, 0.5, 0.5, 0, 0],
            "dynamic": [0, 1, 1, 0, 0],
            "int8": [0, 0.5, 0.5, 0, 0],
        },
        "pointwise": {
            "fp32": [1, 0, 0, 0, 0],
            "fp16": [0.5, 0, 0, 0, 0],
            "dynamic": [0.2, 2, 0, 0, 0],
            "int8": [0.2, 0, 0, 0, 0],
        },
        "CONV_2D": {
            "fp32": [1, 0, 0, 0, 0],
            "fp16": [0.5, 0, 0, 0, 0],
            "dynamic": [0.2, 2, 0, 0, 0],
            "int8": [0.2, 0, 0, 0, 0],
        },
        "DEPTHWISE_CONV_2D": {"fp32": [1, 0, 0, 0, 0], "fp16": [0.5, 0, 0, 0, 0], "int8": [0.8, 0, 0, 0, 0]},
        "QUANTIZE": {"int8": [0, 4, 0, 0, 0]},
        "DEQUANTIZE": {"int8": [0, 3, 0, 0, 0]},
    },
)


@pytest.fixture(scope="module")
def graph(converted: Callable[..., Path]) -> Graph:
    return Tflite.read(converted("tests.kits.small_network:make", resolution=SIDE)).graph


@pytest.fixture(scope="module")
def noise(graph: Graph) -> Noise:
    rng = np.random.default_rng(0)
    layers = [op.index for op in layers_of(graph)]
    tensors = [*graph.inputs, *(index for op in graph.ops for index in op.outputs)]
    drawn = iter(10 ** rng.uniform(-5, -3, len(tensors) + len(layers)))
    rounded = {index: float(next(drawn)) for index in tensors}
    hybrid = {index: float(next(drawn)) for index in layers if _may_be_hybrid(graph.ops[index], graph)}
    weights = {index: float(next(drawn)) for index in layers if index not in hybrid}
    return Noise(rounded, hybrid, weights, first_holders(graph))


def _may_be_hybrid(op: Op, graph: Graph) -> bool:
    """A convolution without a PAD before it."""
    padded = {index for other in graph.ops if other.type == "PAD" for index in other.outputs}
    return op.type == "CONV_2D" and op.inputs[0] not in padded


def _plans(graph: Graph, floating: Precision, int8: bool) -> Iterator[tuple[Precision, ...]]:
    def may_be(op: Op) -> list[Precision]:
        hybrid = [Precision.DYNAMIC] if _may_be_hybrid(op, graph) else []
        return [floating, *hybrid, *([Precision.INT8] if int8 else [])]

    return itertools.product(*(may_be(op) for op in graph.ops))


def _weighed(graph: Graph, plan: tuple[Precision, ...], noise: Noise) -> tuple[float, float]:
    """Price with conversions, and noise, of a plan between float ends."""
    is_int8 = dict(zip((op.index for op in graph.ops), (precision is Precision.INT8 for precision in plan)))
    price, power, touched = 0.0, 0.0, set()
    for op, precision in zip(graph.ops, plan):
        price += PRICES.of(kind_of(op, graph), precision, features_of(op, graph))
        if precision is Precision.INT8:
            power += noise.of_weights(op.index)
            # What only moves values, as a PAD does, rounds none anew.
            touched |= {noise.holders.get(index, index) for index in (*op.inputs, *op.outputs)
                        if not graph.tensors[index].constant}  # fmt: skip
        elif precision is Precision.DYNAMIC:
            power += noise.hybrid[op.index]
    makers = {index: op.index for op in graph.ops for index in op.outputs}
    for index in [*graph.inputs, *makers]:
        made = is_int8.get(makers.get(index, -1), False)
        read = [is_int8[op.index] for op in graph.readers().get(index, [])] + [False] * graph.outputs.count(index)
        elements = math.prod(graph.tensors[index].shape)
        price += 4 * elements if not made and any(read) else 3 * elements if made and not all(read) else 0
    return price, power + sum(noise.of_tensor(index) for index in touched)


@pytest.mark.parametrize(
    ("floating", "int8"), [(Precision.FP32, True), (Precision.FP16, False), (Precision.FP32, False)]
)
def test_no_plan_with_as_little_noise_is_cheaper(floating: Precision, int8: bool, graph: Graph, noise: Noise) -> None:
    weighing = Weighing(graph, Family(PRICES, floating, int8), noise, {})
    every = [_weighed(graph, plan, noise) for plan in _plans(graph, floating, int8)]
    seen = set()
    for bound in [0.0, *np.logspace(-6, -1, 26)]:
        plan = weighing.within(float(bound), int8_input=False, int8_output=False) if bound else []
        if not plan:
            continue
        price, power = _weighed(graph, tuple(item.precision for item in plan), noise)
        assert power <= bound and power == pytest.approx(weighing.noise_of(plan))
        # A cut counts in 64ths: an op may be off by half of one.
        assert price <= min(other for other, its in every if its <= power) + 32 * 3 * len(graph.ops)
        seen.add(price)
    assert len(seen) >= (3 if int8 else 2)  # of the float plans one layer alone may be hybrid


def test_a_file_costs_what_its_ops_cost(converted: Callable[..., Path], tmp_path: Path) -> None:
    """By hand: two layers with hard-swish between, which int8 has in a table that costs nothing beside."""
    np.savez(tmp_path / "data.npz", np.random.default_rng(0).standard_normal((4, 32, 32, 3)).astype(np.float32))
    int8 = Tflite.read(
        converted(
            "tests.kits.small_network:make",
            resolution=SIDE,
            precision=Precision.INT8,
            calibration=str(tmp_path / "data.npz"),
        )
    ).graph
    states = states_of(int8)
    ops = [(int8.ops[index].type, state.precision) for index, state in states.items()]
    assert [kind for kind, _ in ops].count("HARD_SWISH") == 1 and ("HARD_SWISH", Precision.INT8) in ops
    # The conversions of the table are in it: what is left are those at the model's ends.
    assert [kind for kind, _ in ops].count("QUANTIZE") == [kind for kind, _ in ops].count("DEQUANTIZE") == 1
    by_hand = sum(
        PRICES.of(kind_of(int8.ops[index], int8), Precision.INT8, features_of(int8.ops[index], int8))
        for index, state in states.items()
        if state.precision is Precision.INT8
    ) + sum(
        PRICES.of(state.kind, state.precision, state.features)
        for state in states.values()
        if state.precision is not Precision.INT8
    )
    assert price_of(int8, PRICES) == pytest.approx(by_hand)


@pytest.mark.parametrize("core", list(Core))
def test_each_core_prices_every_precision(core: Core, graph: Graph) -> None:
    prices = prices_for(core)
    assert prices.source and (prices.half is (core in (Core.ARMV8_2, Core.ARMV9)))
    for op in layers_of(graph):
        for precision in Precision:
            assert prices.of(kind_of(op, graph), precision, features_of(op, graph)) > 0
    assert price_of(graph, prices, half=True) == price_of(graph, prices) or prices.half


def test_plans_name_a_reason_for_each_op(graph: Graph, noise: Noise) -> None:
    weighing = Weighing(graph, Family(PRICES, Precision.FP32, True), noise, {graph.ops[0].index: "a reason"})
    plan: list[OpPlan] = weighing.within(1.0, int8_input=False, int8_output=False)
    assert all(item.reason for item in plan) and plan[0].precision is not Precision.INT8
