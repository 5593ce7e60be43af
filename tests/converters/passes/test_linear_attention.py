"""The linear attention pass: every spelling of the algebra becomes the canonical form and computes the same;
look-alikes are left alone.

The oracle is PyTorch's own run of the module, in float64 where the rounding of the reference itself would count. A
rewrite changes the order of sums, so float32 results differ by a few units in the last place times the length of the
sums: 1e-5 of the largest output leaves a factor of ten over the worst seen (1.1e-6), and is a tenth of what a
conversion may lose.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from benchmarks.attention.estimate_forms import Cost, behind
from benchmarks.attention.layers import HEAD_WIDTH, SIZES
from converters.passes import default_passes, run_passes
from converters.passes.linear_attention import ATTENTION_FORMS
from converters.passes.linear_attention.forms import Form
from evit_mobile.errors import RequestError
from evit_mobile.specs import Core, Precision, Target
from tests.kits.graphs import (
    Attention,
    Shape,
    attentions,
    export,
    noise,
    ops,
    relative_error,
    rewrite,
    run_onnx,
    seeded,
)

TOLERANCE = 1e-5
RESULTS = Path(__file__).resolve().parents[3] / "benchmarks" / "results"
FORMS = [form.value for form in Form]
#: What one layer of each form is made of, beside Reshape.
FORM_OPS = {
    "channel-major": {"MatMul": 3, "Div": 1, "ReduceSum": 1, "Conv": 4},
    "token-major": {"MatMul": 3, "Div": 1, "ReduceSum": 1, "Conv": 4},
    "fold-output": {"MatMul": 3, "Div": 1, "ReduceSum": 2, "Conv": 3},
    "gram": {"MatMul": 4, "Div": 1, "ReduceSum": 2, "Conv": 2},
    "gram-matmul": {"MatMul": 5, "Div": 1, "ReduceSum": 2, "Conv": 1},
    "gram-blocks": {"MatMul": 4, "Div": 1, "ReduceSum": 2, "Conv": 2},
}


def reference(module: nn.Module, x: np.ndarray) -> np.ndarray:
    """The module by PyTorch in float64."""
    result: np.ndarray = module.double()(torch.from_numpy(x).double()).numpy()
    module.float()
    return result


def check_same(module: nn.Module, shape: Shape, form: str = "auto", fired: int = 1) -> onnx.ModelProto:
    stock = export(module, shape.image)
    rewritten, reports = rewrite(stock, form)
    assert reports["linear-attention"].fired == fired, reports["linear-attention"].declined
    x = noise(shape.image)
    assert relative_error(reference(module, x), run_onnx(rewritten, x)) <= TOLERANCE
    return rewritten


@pytest.mark.parametrize("form", FORMS)
def test_ops_of_each_form(form: str) -> None:
    module = seeded(Attention(Shape()))
    before = ops(export(module, Shape().image))
    after = ops(check_same(module, Shape(), form))
    assert before["Gather"] == 3 and before["Conv"] == 2
    assert "Gather" not in after and "Slice" not in after and "Pad" not in after
    assert {op: after[op] for op in FORM_OPS[form]} == FORM_OPS[form]
    assert after["Relu"] == 2


@pytest.mark.parametrize(
    ("height", "length", "sums"),
    [(16, 32, 4), (32, 9, 4), (15, 15, 2), (1, 257, 2), (1, 2 * 131, 4)],
    ids=["two blocks", "two of 144", "one block", "a prime number of tokens", "two of 131"],
)
def test_many_tokens_are_summed_in_blocks(height: int, length: int, sums: int) -> None:
    """As many equal blocks of at most 256 tokens as it takes, where they are not much smaller; adding the k and G of
    blocks takes two more sums.
    """
    shape = Shape(height=height, length=length)
    after = ops(check_same(seeded(Attention(shape)), shape, "gram-blocks"))
    assert after["ReduceSum"] == sums and after["MatMul"] == 4


def test_auto_chooses_for_the_core() -> None:
    """At 1024 tokens, as benchmarks/results has it."""
    shape = Shape(height=32, length=32)
    stock = export(seeded(Attention(shape)), shape.image)
    chosen = {core: chosen_for(core, stock) for core in Core}
    assert chosen == dict.fromkeys(Core, "gram-blocks") | {Core.X86_64: "gram-matmul"}


def chosen_for(core: Core, stock: onnx.ModelProto) -> str:
    """What ``auto`` makes of ``stock`` for ``core``, by its ops."""
    graph = ir.from_proto(stock)
    run_passes(graph, Target(core=core))
    after = ops(ir.to_proto(graph))
    if after["ReduceSum"] == 4:
        return "gram-blocks"
    return next(form for form in FORMS if all(after[op] == count for op, count in FORM_OPS[form].items()))


def test_auto_takes_what_is_recorded_and_that_is_within_two_per_cent_of_the_best() -> None:
    document = json.loads((RESULTS / "attention_forms_arm64.json").read_text())
    costs = [Cost(**cost) for cost in document["costs"]]
    for size in SIZES:
        own = [cost for cost in costs if (cost.channels, cost.tokens) == (size.channels, size.tokens)]
        shape = Shape(size.heads, HEAD_WIDTH, size.height, size.width, size.channels)
        stock = export(Attention(shape), shape.image) if own else None
        for device, core in {(cost.device, cost.core) for cost in own}:
            of_device = [cost for cost in own if cost.device == device]
            assert stock is not None and behind(of_device, (size.channels, size.tokens)) <= 0.02
            recorded = next(cost.form for cost in of_device if cost.chosen)
            assert chosen_for(Core(core), stock) == recorded, (device, size)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
@given(layer=attentions(), form=st.sampled_from(ATTENTION_FORMS))
def test_any_spelling_of_the_algebra(layer: Attention, form: str) -> None:
    check_same(seeded(layer), layer.shape, form)


@pytest.mark.parametrize("form", ["auto", *FORMS])
@pytest.mark.parametrize("tokens", [(2, 2), (4, 4)], ids=["fewer tokens than channels", "tokens = head width"])
def test_equal_sizes_are_not_mixed_up(form: str, tokens: tuple[int, int]) -> None:
    """Where tokens, heads and channels are the same number, a transposed product still has a valid shape."""
    shape = Shape(heads=4, width=tokens[0] * tokens[1], height=tokens[0], length=tokens[1], channels=4)
    check_same(seeded(Attention(shape)), shape, form)


def test_without_a_projection_the_output_stays_an_image() -> None:
    after = ops(check_same(seeded(Attention(Shape(), project=False)), Shape(), "gram"))
    assert after["Conv"] == 3 and after["MatMul"] == 3


def test_denominator_without_epsilon() -> None:
    """Then a token whose q is zero in a head is 0/0 before and after."""
    module = seeded(Attention(Shape(), guard="none"))
    rewritten, reports = rewrite(export(module, Shape().image))
    assert reports["linear-attention"].fired == 1
    assert not any("guarded" in node.name for node in rewritten.graph.node)
    x = noise(Shape().image)
    np.testing.assert_allclose(run_onnx(rewritten, x), reference(module, x), rtol=0, atol=TOLERANCE, equal_nan=True)


def test_epsilon_of_means_counts_the_tokens() -> None:
    """num/N / (den/N + ε) is num / (den + N ε): at a large ε a wrong factor would show."""
    check_same(seeded(Attention(Shape(), denominator="mean", eps=0.5)), Shape())
    check_same(seeded(Attention(Shape(), denominator="mean", guard="max", eps=0.5)), Shape())


def test_a_token_with_zero_query_stays_zero() -> None:
    module = seeded(Attention(Shape(), bias=False))
    rewritten, _ = rewrite(export(module, Shape().image), "gram")
    assert np.abs(run_onnx(rewritten, np.zeros(Shape().image, np.float32))).max() == 0.0


class MultiScale(nn.Module):
    """Multi-scale linear attention as the authors' later code has it: heads of q, k, v beside heads of their 5x5
    aggregation.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        inner = shape.heads * shape.width
        self.qkv = nn.Conv2d(shape.channels, 3 * inner, 1, bias=False)
        self.aggregate = nn.Sequential(
            nn.Conv2d(3 * inner, 3 * inner, 5, padding=2, groups=3 * inner, bias=False),
            nn.Conv2d(3 * inner, 3 * inner, 1, groups=3 * shape.heads, bias=False),
        )
        self.proj = nn.Conv2d(2 * inner, shape.channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        s = self.shape
        qkv = self.qkv(x)
        qkv = (
            torch.cat([qkv, self.aggregate(qkv)], dim=1)
            .reshape(1, -1, 3 * s.width, s.height * s.length)
            .transpose(-1, -2)
        )
        q, k, v = qkv[..., : s.width], qkv[..., s.width : 2 * s.width], qkv[..., 2 * s.width :]
        q, k, v = F.relu(q), F.relu(k), F.pad(v, (0, 1), value=1.0)
        out = q @ (k.transpose(-1, -2) @ v)
        out = out[..., :-1] / (out[..., -1:] + 1e-5)
        y: Tensor = self.proj(out.transpose(-1, -2).reshape(1, -1, s.height, s.length))
        return y


@pytest.mark.parametrize("form", ["auto", *FORMS])
def test_multi_scale_attention(form: str) -> None:
    module = seeded(MultiScale(Shape()))
    stock = ops(export(module, Shape().image))
    after = ops(check_same(module, Shape(), form))
    assert stock["Pad"] == 1 and "Pad" not in after and "Slice" not in after and "Gather" not in after


# What must stay as it is.


class Softmax(nn.Module):
    """Softmax attention with the same projections and heads."""

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = x.reshape(1, 3, 2, 4, 30).unbind(1)
        weights = torch.softmax(q.transpose(-1, -2) @ k * 0.5, dim=-1)
        return (weights @ v.transpose(-1, -2)).transpose(-1, -2).reshape(1, 8, 5, 6)


class Quadratic(nn.Module):
    """ReLU weights normalised to one, but the [N, N] matrix first: the same numbers, another association."""

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = x.reshape(1, 3, 2, 4, 30).unbind(1)
        weights = F.relu(q).transpose(-1, -2) @ F.relu(k)
        out = (weights @ v.transpose(-1, -2)) / (weights.sum(-1, keepdim=True) + 1e-6)
        return out.transpose(-1, -2).reshape(1, 8, 5, 6)


class ChannelAttention(nn.Module):
    """The same ops, but KV is over channels of other heads: q of head 0 meets KV of head 1."""

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = x.reshape(1, 3, 2, 4, 30).unbind(1)
        q, k = F.relu(q), F.relu(k)
        numerator = (v @ k.transpose(-1, -2)) @ q
        denominator = k.sum(-1, keepdim=True).flip(1).transpose(-1, -2) @ q
        return (numerator / (denominator + 1e-6)).reshape(1, 8, 5, 6)


class WrongSum(nn.Module):
    """A denominator over half of the tokens."""

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = x.reshape(1, 3, 2, 4, 30).unbind(1)
        q, k = F.relu(q), F.relu(k)
        numerator = (v @ k.transpose(-1, -2)) @ q
        denominator = k[..., :15].sum(-1, keepdim=True).transpose(-1, -2) @ q
        return (numerator / (denominator + 1e-6)).reshape(1, 8, 5, 6)


class OtherQuery(nn.Module):
    """A denominator of another tensor's ReLU."""

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = x.reshape(1, 3, 2, 4, 30).unbind(1)
        numerator = (v @ F.relu(k).transpose(-1, -2)) @ F.relu(q)
        denominator = F.relu(k).sum(-1, keepdim=True).transpose(-1, -2) @ F.relu(k)
        return (numerator / (denominator + 1e-6)).reshape(1, 8, 5, 6)


@pytest.mark.parametrize("core", [Softmax, Quadratic, ChannelAttention, WrongSum, OtherQuery])
def test_look_alikes_are_left_alone(core: type[nn.Module]) -> None:
    module = seeded(nn.Sequential(nn.Conv2d(8, 24, 1), core(), nn.Conv2d(8, 8, 1)))
    stock = export(module, (1, 8, 5, 6))
    rewritten, reports = rewrite(stock)
    assert reports["linear-attention"].fired == 0
    x = noise((1, 8, 5, 6))
    assert ops(rewritten)["MatMul"] == ops(stock)["MatMul"]
    assert relative_error(reference(module, x), run_onnx(rewritten, x)) <= TOLERANCE


def test_softmax_is_reported() -> None:
    module = seeded(nn.Sequential(nn.Conv2d(8, 24, 1), Softmax()))
    _, reports = rewrite(export(module, (1, 8, 5, 6)))
    (found,) = reports["no-softmax"].declined
    assert "30x30" in found.reason
    _, reports = rewrite(export(seeded(nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.Softmax(-1))), (1, 3, 2, 2)))
    assert not reports["no-softmax"].declined


@pytest.mark.parametrize(
    "kernel", [lambda t: F.elu(t) + 1, F.softplus, F.relu6, lambda t: t], ids=["elu+1", "softplus", "relu6", "none"]
)
def test_other_kernels_are_left_alone(kernel: Callable[[Tensor], Tensor]) -> None:
    module = seeded(Attention(Shape(), kernel=kernel))
    stock = export(module, Shape().image)
    rewritten, reports = rewrite(stock)
    assert reports["linear-attention"].fired == 0
    assert "no ReLU" in reports["linear-attention"].declined[0].reason
    # A softplus is written with a ReLU of its own; see log_exp.
    assert ops(rewritten)["MatMul"] == 3 and ops(rewritten)["Relu"] == ops(stock)["Relu"] + ops(stock)["Softplus"]
    x = noise(Shape().image)
    assert np.allclose(run_onnx(rewritten, x), reference(module, x), rtol=1e-3, atol=1e-4)


def test_no_attention() -> None:
    module = seeded(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 1)))
    stock = export(module, (1, 3, 6, 6))
    rewritten, reports = rewrite(stock)
    assert reports["linear-attention"].fired == 0 and not reports["linear-attention"].declined
    assert ops(rewritten) == ops(stock)


def test_int8_keeps_the_projections() -> None:
    rewritten, _ = rewrite(export(seeded(Attention(Shape())), Shape().image), precision=Precision.INT8)
    assert ops(rewritten)["Conv"] == 4


def test_unknown_form() -> None:
    with pytest.raises(RequestError, match="fold-everything"):
        default_passes("fold-everything")
