"""fp16 files: their weights, their delegation, their range check."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from torch import Tensor, nn

from converters.lowering.lower import Lowering
from converters.parity.stimuli import Stimulus
from converters.parity.verify import verify_model
from converters.quantize.half import LARGEST, HalfRange, measure_range, to_half
from converters.tflite.survey import survey
from evit_mobile.errors import RequestError
from evit_mobile.runtimes import RUNTIMES, Runtime
from evit_mobile.specs import Precision, Resolution
from evit_mobile.tflite.file import Tflite
from evit_mobile.tflite.flatbuffer import pack, unpack
from evit_mobile.tflite.graph import graph_of, read_graph
from tests.kits.graphs import export, rewrite

SMALL = Resolution(96, 96)


@pytest.fixture(scope="module")
def half_tflite(converted: Callable[..., Path]) -> Path:
    return converted("base-r192", resolution=SMALL, precision=Precision.FP16)


def test_every_float_weight_is_unpacked_from_float16(half_tflite: Path, small_tflite: Path) -> None:
    graph = read_graph(half_tflite)
    constants = Counter(tensor.dtype for tensor in graph.tensors if tensor.constant)
    assert constants["float16"] == sum(op.type == "DEQUANTIZE" for op in graph.ops) > 100
    assert all(np.prod(tensor.shape) == 1 for tensor in graph.tensors if tensor.constant and tensor.dtype == "float32")
    assert half_tflite.stat().st_size <= 0.52 * small_tflite.stat().st_size


@pytest.mark.parametrize("name", ["litert", "litert-latest"])
def test_one_partition(name: str, half_tflite: Path, installed: Callable[[str], Runtime]) -> None:
    runtime = RUNTIMES["litert"] if name == "litert" else installed(name)
    (row,) = survey(half_tflite, [runtime])
    assert row.partitions == 1 and not row.undelegated


def test_verify_judges_it_by_its_own_bound(half_tflite: Path) -> None:
    report = verify_model(half_tflite)
    assert report.passed, report.worst()
    assert report.precision == "fp16" and report.criterion.bound > 1e-3
    assert report.worst().difference.relative_error > 1e-4  # weights of 11 bits: as fp32 it would not pass
    assert [state.name for state in report.runtimes] == ["litert", "litert in fp16"]
    assert sum(row.runtime == "litert in fp16" for row in report.judged()) == len(report.inputs)


def test_xnnpack_is_given_leave_to_compute_in_half_precision(half_tflite: Path) -> None:
    model = unpack(half_tflite.read_bytes())
    (entry,) = [entry for entry in model.metadata if entry.name == b"reduced_precision_support"]
    assert bytes(model.buffers[entry.buffer].data) == b"fp16accfp16"


def test_tensors_that_share_a_buffer_still_do(small_tflite: Path) -> None:
    model = unpack(small_tflite.read_bytes())
    first, second = [
        tensor for tensor in model.subgraphs[0].tensors if tensor.name.endswith(b"expand/conv/Conv_conv_bias")
    ][1:3]
    second.buffer = first.buffer
    graph = graph_of(to_half(Tflite(pack(model))))
    values = {tensor.name: tensor.values() for tensor in graph.tensors}
    one, other = (values[f"{tensor.name.decode()}/fp16"] for tensor in (first, second))
    assert one is not None and one.dtype == np.float16
    assert other is not None and np.array_equal(one, other)


def test_a_weight_that_is_too_large_is_refused(damaged: Callable[..., Path], small_tflite: Path) -> None:
    def enlarge(values: np.ndarray) -> None:
        values.flat[0] = 1e5

    with pytest.raises(RequestError, match="reaches 1e.05: fp16 holds at most 65504"):
        to_half(Tflite.read(damaged(small_tflite, "head/hidden/Gemm_fc_bias", enlarge)))


def test_range_check(half_tflite: Path, small_tflite: Path) -> None:
    """Noise passes; an image whose values leave float16 is refused; an fp32 graph's epsilon, which becomes zero,
    too.
    """
    noise = np.random.default_rng(0).standard_normal((1, 3, 96, 96), np.float32)
    model = Tflite.read(small_tflite)
    extent = measure_range(model, [Stimulus("noise", {"image": noise})])
    assert extent.largest < LARGEST / 4 and not extent.warnings()
    assert extent.largest_sum is not None and extent.smallest_denominator is not None
    with pytest.raises(RequestError, match="fp16, which ends at 65504: .* on input loud"):
        measure_range(Tflite.read(half_tflite), [Stimulus("loud", {"image": noise * 1e5})])
    with pytest.raises(RequestError, match="something is divided by .* and becomes zero"):
        measure_range(model, [Stimulus("zeros", {"image": noise * 0})])


def test_values_near_the_end_are_told() -> None:
    assert HalfRange(20000.0, "x", "white", 1.0, "y", 2.0, "z").warnings() == [
        "values reach 2e+04 at x on input white; fp16 ends at 65504"
    ]


class Sums(nn.Module):
    """Products of 600 in pairs of opposite sign, which XNNPACK adds up one after the other in half precision."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(256, 4, 1, bias=False)
        self.layer.weight.data.fill_(2.0)[:, 128:] = -2.0

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.layer(x)
        return result


@pytest.mark.parametrize("module", [Sums(), nn.AvgPool2d(16)])
def test_sums_that_may_leave_half_precision_are_told(module: nn.Module) -> None:
    shape = (1, 256, 16, 16)
    with Lowering() as lowering:
        model = Tflite(lowering.lower(rewrite(export(module, shape), precision=Precision.FP16)[0]))
    quiet, loud = (Stimulus(name, {"x": np.full(shape, size, np.float32)}) for name, size in (("q", 3), ("l", 300)))
    assert not measure_range(model, [quiet]).warnings()
    (warning,) = measure_range(model, [quiet, loud]).warnings()
    assert warning.startswith("what is added up to") and "unless it cancels" in warning


class OverRoot(nn.Module):
    """Not a normalisation: what is divided is not what was squared."""

    def forward(self, x: Tensor) -> Tensor:
        return (x + 1) / (x.square().mean(1, keepdim=True) + 1e-6).sqrt()


def test_a_root_of_what_becomes_zero() -> None:
    """√1e-6 = 1e-3 is a number of half precision, and 1e-6 is not."""
    shape = (1, 3, 8, 8)
    with Lowering() as lowering:
        model = Tflite(lowering.lower(rewrite(export(OverRoot(), shape), precision=Precision.FP16)[0]))
    black = Stimulus("black", {"x": np.zeros(shape, np.float32)})
    with pytest.raises(RequestError, match="which is 1e-06 on input black and becomes zero"):
        measure_range(model, [black])
