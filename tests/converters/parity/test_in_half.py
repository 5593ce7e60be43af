"""What half precision would compute: values rounded to float16, and files that are right in float32 alone.

The oracle is PyTorch, which computes in float16 too: an op at a time, each result rounded once.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from converters.options import ConvertOptions
from converters.parity.in_half import first_lost, rounded_to_half
from converters.pipeline import convert_in_memory
from converters.source.inputs import InputRequest
from converters.source.load import Source, module_source
from evit_mobile.arrays import Array
from evit_mobile.errors import ClaimError
from evit_mobile.runtimes import RUNTIMES
from evit_mobile.specs import Precision
from evit_mobile.tflite.file import Tflite

#: Of a batch of vectors, which the file takes as PyTorch does, and of tokens.
SHAPE, TOKENS = (1, 512), (1, 16, 32)


class Chain(nn.Module):
    """Steps that round, overflow and vanish by the input; in float16 a subnormal number is zero after each."""

    def forward(self, values: Tensor) -> Tensor:
        held = torch.nn.Identity() if values.dtype is torch.float32 else _flushed
        squares = held(held(held(held(values) * 3.125).square()) * 7.25)
        return held(held(held(torch.sqrt(squares)) * 0.375) + 11.0)


def _flushed(values: Tensor) -> Tensor:
    return torch.where(values.abs() < torch.finfo(torch.float16).smallest_normal, 0.0, values)


class Vanishes(nn.Module):
    """What LiteRT's float16 takes for zero on the way."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(512, 8, bias=False)

    def forward(self, values: Tensor) -> Tensor:
        result: Tensor = self.layer(values * 1e-5) * 1e4
        return result


class Loses(nn.Module):
    """What is below 1 is lost beside 8192 in half precision, and nothing of it in float32."""

    def forward(self, values: Tensor) -> Tensor:
        return (values * values.square().add(8192.0)).relu() - values.relu() * 8192.0


class Normalises(nn.Module):
    """Layer normalisation and attention, which half precision can do."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True)

    def forward(self, tokens: Tensor) -> Tensor:
        result: Tensor = self.layer(tokens)
        return result


def _source(module: nn.Module, shape: tuple[int, ...] = SHAPE) -> Source:
    torch.manual_seed(0)
    return module_source(module.eval(), request=InputRequest(shapes={"values": shape}))


@pytest.fixture(scope="module")
def chain() -> Tflite:
    return Tflite(convert_in_memory(_source(Chain())).content)


def _run(model: Tflite, values: Array) -> Array:
    with model.on_disk() as path, RUNTIMES["litert"].open(path) as session:
        return np.asarray(session.run([values])[0])


@pytest.mark.parametrize("factor", [1.0, 1e-3, 60.0])
def test_every_value_is_rounded_as_in_pytorch(chain: Tflite, factor: float) -> None:
    """Its squares reach 5e5 by the last factor, which is infinity in float16; by the second many are subnormal."""
    values = factor * np.random.default_rng(0).standard_normal(SHAPE).astype(np.float32)
    expected = Chain()(torch.from_numpy(values).half()).float().numpy()
    actual = _run(rounded_to_half(chain), values)
    finite = np.isfinite(expected)
    assert np.array_equal(np.isfinite(actual), finite) and np.array_equal(actual[finite], expected[finite])
    assert finite.all() == (factor < 60.0)
    assert not np.array_equal(_run(chain, values), expected)


def test_moves_are_not_rounded_again() -> None:
    class Moves(nn.Module):
        def forward(self, values: Tensor) -> Tensor:
            return torch.cat([values.reshape(1, 8, 64), torch.zeros(1, 1, 64)], 1) + 1.5

    model = Tflite(convert_in_memory(_source(Moves())).content)
    before, after = (Counter(op.type for op in item.graph.ops) for item in (model, rounded_to_half(model)))
    assert after - before == Counter(CAST=4, MUL=4, ABS=2, FLOOR=2)  # of the input and the addition


def test_the_first_op_that_is_lost_is_named(chain: Tflite) -> None:
    values = {"values": np.full(SHAPE, 100.0, np.float32)}
    lost = first_lost(chain, rounded_to_half(chain), values, 0.1)
    assert lost is not None and lost.startswith("op 1, MUL")
    assert first_lost(chain, rounded_to_half(chain), {"values": np.ones(SHAPE, np.float32)}, 0.1) is None


@pytest.mark.parametrize("module", [Loses(), Vanishes()])
def test_a_file_that_half_precision_loses_is_refused(module: nn.Module) -> None:
    """In fp32 the same network is converted."""
    assert convert_in_memory(_source(module)).content
    with pytest.raises(ClaimError, match="converted to fp16: in half precision, output .* on noise: .* parts first"):
        convert_in_memory(_source(module), ConvertOptions(precision=Precision.FP16))


def test_large_inputs_are_not_run_so() -> None:
    """What rounds holds several copies of each value."""
    source = _source(Loses(), (1, 2**20 + 512))
    assert convert_in_memory(source, ConvertOptions(precision=Precision.FP16)).report.precision is Precision.FP16


@pytest.mark.parametrize("factor", [50.0, 200.0])
def test_what_verify_will_not_pass_is_told(factor: float) -> None:
    """sin(50 x) of float16's x is off by 50 roundings of x; by 200 they are beyond the margin, and explain it."""

    class Waves(nn.Module):
        def forward(self, values: Tensor) -> Tensor:
            return torch.sin(values * factor)

    report = convert_in_memory(_source(Waves()), ConvertOptions(precision=Precision.FP16)).report
    (warning,) = [text for text in report.warnings if "verify" in text]
    assert warning.startswith("in half precision, output") and "allowed 2e-02" in warning


@pytest.mark.parametrize(("side", "lost"), [(8, False), (16, True)])
def test_the_sum_of_a_pool_is_of_float16(side: int, lost: bool) -> None:
    """300 is a number of it, and so is 64 times 300; 256 times 300 is infinity, on an emulated Cortex-A76 too."""

    class Pool(nn.Module):
        def forward(self, values: Tensor) -> Tensor:
            return F.avg_pool2d(values, side)

    model = Tflite(convert_in_memory(_source(Pool(), (1, 2, side, side))).content)
    pooled = _run(rounded_to_half(model), np.full((1, side, side, 2), 300.0, np.float32))
    assert np.all(np.isinf(pooled) if lost else pooled == 300.0)


def test_what_half_precision_can_do_is_not() -> None:
    conversion = convert_in_memory(_source(Normalises(), TOKENS), ConvertOptions(precision=Precision.FP16))
    assert Tflite(conversion.content).in_half
