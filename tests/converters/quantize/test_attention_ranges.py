"""What each attention divides by, against the same figures computed by PyTorch from the module's own projections."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from converters.parity.stimuli import verification_stimuli
from converters.passes.linear_attention.forms import Form
from converters.quantize.attention_ranges import attention_ranges, warnings
from converters.source.load import module_source
from evit_mobile.specs import Preprocessing, Resolution
from tests.kits.graphs import Attention, Shape, export, rewrite, seeded

SHAPE = Shape(heads=2, width=3, height=4, length=5, channels=3)


def _oracle(module: Attention) -> tuple[float, float, float]:
    """max Σφ(k), and the smallest and largest denominator, over the verification inputs."""
    sums, denominators = [], []
    for stimulus in verification_stimuli(Resolution(SHAPE.height, SHAPE.length), SHAPE.channels, Preprocessing()):
        x = torch.from_numpy(np.ascontiguousarray(stimulus.image.transpose(0, 3, 1, 2)))
        with torch.no_grad():
            q, k, _ = module.projections[0](x).reshape(3, SHAPE.heads, SHAPE.width, -1).relu()
        sums.append(k.sum(-1))
        denominators.append((q * sums[-1][..., None]).sum(1) + module.eps)
    return (
        max(map(torch.max, sums)).item(),
        min(map(torch.min, denominators)).item(),
        max(map(torch.max, denominators)).item(),
    )


@pytest.mark.parametrize("form", list(Form))
def test_ranges_are_those_of_the_module(form: Form) -> None:
    module = seeded(Attention(SHAPE))
    (found,) = attention_ranges(rewrite(export(module, SHAPE.image), form)[0], module_source(module))
    key_sum, smallest, largest = _oracle(module)
    # Sums of 20 and of 3 numbers in another order; eps itself where a query is silent.
    assert found.largest_key_sum == pytest.approx(key_sum, rel=1e-5)
    assert found.largest_denominator == pytest.approx(largest, rel=1e-5)
    assert found.smallest_denominator == pytest.approx(smallest, rel=1e-5)


def test_large_keys_overflow() -> None:
    module = seeded(Attention(SHAPE))
    with torch.no_grad():
        module.projections[0].bias += 1e4
    (found,) = ranges = attention_ranges(rewrite(export(module, SHAPE.image))[0], module_source(module))
    assert found.fp16 == "overflows" and found.largest_key_sum > 65504
    (line,) = warnings(ranges)
    assert "overflows in 1 of 1" in line and found.input in line


def test_silent_queries_underflow() -> None:
    module = seeded(Attention(SHAPE))
    with torch.no_grad():
        module.projections[0].bias[: SHAPE.heads * SHAPE.width] = -100
    (found,) = ranges = attention_ranges(rewrite(export(module, SHAPE.image))[0], module_source(module))
    assert found.fp16 == "underflows" and found.smallest_denominator == pytest.approx(module.eps)
    assert "smallest denominator 1e-06" in warnings(ranges)[0]


def test_a_graph_as_exported_has_none() -> None:
    module = seeded(Attention(SHAPE))
    assert attention_ranges(export(module, SHAPE.image), module_source(module)) == []
