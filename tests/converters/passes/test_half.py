"""What the passes do for fp16: the same numbers in float, and none that half precision cannot hold.

Oracle: PyTorch in float64. In float32 both graphs compute the same, so the tolerance is that of the other passes'
tests; what half precision then does is run in ``tests/emulator``.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
import torch
from torch import nn

from converters.passes import default_passes, run_passes
from converters.passes.linear_attention.half import SMALLEST
from evit_mobile.specs import Precision, Target
from tests.converters.passes.test_layer_norm import IMAGE, Norm
from tests.converters.passes.test_linear_attention import FORMS
from tests.kits.graphs import Attention, Shape, export, noise, ops, relative_error, rewrite, run_onnx, seeded

TOLERANCE = 1e-5


def _expected(module: nn.Module, x: np.ndarray) -> np.ndarray:
    result: np.ndarray = module.double()(torch.from_numpy(x).double()).numpy()
    module.float()
    return result


@pytest.mark.parametrize("form", ["auto", *FORMS])
@pytest.mark.parametrize("split", ["index", "three"])
@pytest.mark.parametrize("guard", ["add", "max", "none"])
def test_attention_computes_the_same(form: str, split: str, guard: str) -> None:
    module = seeded(Attention(Shape(), split, guard=guard))
    rewritten, reports = rewrite(export(module, Shape().image), form, Precision.FP16)
    assert reports["linear-attention"].fired == 1
    x = noise(Shape().image)
    expected = _expected(module, x)
    known = np.isfinite(expected)  # without an epsilon a silent query is 0/0 in the reference
    assert relative_error(expected[known], run_onnx(rewritten, x)[known]) <= TOLERANCE
    # A folded form would divide q before the product.
    names = [node.name for node in rewritten.graph.node]
    assert not any(name.endswith("q_normalised") for name in names)
    assert ops(rewritten)["Max"] == 1


def test_a_large_epsilon_is_kept() -> None:
    """0.5 / N is above the smallest normal number: it is added as before, and not made a bound."""
    module = seeded(Attention(Shape(), eps=0.5))
    rewritten, _ = rewrite(export(module, Shape().image), precision=Precision.FP16)
    x = noise(Shape().image)
    assert ops(rewritten)["Max"] == 0 and relative_error(_expected(module, x), run_onnx(rewritten, x)) <= TOLERANCE


def test_several_resolutions_have_the_same_weights() -> None:
    """Graphs of 64 and of 256 tokens, each scaled for 128: twice its own number, and half of it.

    The tolerance is that of fp32 files: a denominator that is nearly 0 is raised to the lower bound.
    """
    weights = []
    for side, ratio in ((8, 2.0), (16, 0.5)):
        shape = Shape(height=side, length=side)
        module = seeded(Attention(shape))
        graph = ir.from_proto(export(module, shape.image))
        run_passes(graph, Target(Precision.FP16, token_ratio=ratio), default_passes())
        rewritten = ir.to_proto(graph)
        x = noise(shape.image)
        assert relative_error(_expected(module, x), run_onnx(rewritten, x)) <= 1e-4
        weights.append({value.raw_data for value in rewritten.graph.initializer if value.data_type == 1})
    assert weights[0] == weights[1]


@pytest.mark.parametrize("scale", [0.01, 3.0, 300.0])
def test_layer_norm_computes_the_same(scale: float) -> None:
    """Epsilon is kept: 1e-5 of a variance of 1e-4 is far above the tolerance."""
    module = seeded(Norm(nn.Conv2d(6, 4, 1)))
    rewritten, _ = rewrite(export(module, IMAGE), precision=Precision.FP16)
    x = scale * noise(IMAGE) + 7 * scale
    assert relative_error(_expected(module, x), run_onnx(rewritten, x)) <= TOLERANCE
    after = ops(rewritten)
    assert (after["Abs"], after["ReduceMean"], after["Sub"], after["Sqrt"]) == (1, 3, 1, 1)


def test_a_flat_map_is_normalised_to_zero() -> None:
    """Its variance is 0; what is left are the shift and the biases of what follows."""
    module = seeded(Norm(nn.Conv2d(6, 4, 1)))
    rewritten, _ = rewrite(export(module, IMAGE), precision=Precision.FP16)
    x = np.full(IMAGE, 3, np.float32)
    assert relative_error(_expected(module, x), run_onnx(rewritten, x)) <= TOLERANCE


def test_smallest_is_numpys() -> None:
    assert SMALLEST == float(np.finfo(np.float16).smallest_normal)
