"""The Python API as a notebook uses it: models by name, modules that are defined right here, arrays in and out.

Oracles: PyTorch itself for values (bound 1e-4 of the largest value, verify's own for fp32), ``verify`` for what it
says.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

import evit_mobile as em
from evit_mobile.results.files import load as load_results
from evit_mobile.results.files import save as save_results
from evit_mobile.tflite.flatbuffer import unpack

BOUND = 1e-4


class Small(nn.Module):
    """A backbone with two named outputs."""

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(channels, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.Hardswish())
        self.map, self.head = nn.Conv2d(8, 5, 1), nn.Linear(8, 4)

    def forward(self, picture: Tensor) -> dict[str, Tensor]:
        features = self.stem(picture)
        return {"map": self.map(features), "logits": self.head(features.mean((2, 3)))}


class Pair(nn.Module):
    """Two inputs of different shapes."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(6, 4), nn.Linear(3, 4)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        return torch.relu(self.left(first)) * self.right(second)


def _agrees(actual: np.ndarray, expected: Tensor) -> bool:
    reference = expected.detach().numpy()
    return float(np.abs(actual - reference).max()) <= BOUND * float(np.abs(reference).max())


@pytest.fixture(scope="module")
def module() -> nn.Module:
    torch.manual_seed(0)
    return Small().eval()


@pytest.fixture(scope="module")
def conversion(module: nn.Module) -> em.Conversion:
    return em.convert(module, resolution=(32, 48))


def test_a_module_computes_the_same_in_both(module: nn.Module, conversion: em.Conversion) -> None:
    picture = torch.randn(1, 3, 32, 48, generator=torch.Generator().manual_seed(1))
    expected = module(picture)
    with em.load(conversion) as model:
        assert model.inputs == {"image": (1, 32, 48, 3)}
        outputs = model(picture.permute(0, 2, 3, 1).numpy())
        assert set(outputs) == set(model.outputs) == {"map", "logits"}
    assert _agrees(outputs["logits"], expected["logits"])
    assert _agrees(outputs["map"], expected["map"].permute(0, 2, 3, 1))


def test_a_modules_conversion_verifies_and_is_inspected(conversion: em.Conversion) -> None:
    report = em.verify(conversion, layers=True)
    assert report.passed and report.reference == "pytorch" and report.model == "Small"
    inspection = em.inspect(conversion)
    assert (inspection.partitions, inspection.undelegated) == (1, [])
    assert inspection.op_counts == conversion.report.tflite_ops
    assert all(item.seconds >= 0 for item in conversion.report.passes) and not conversion.report.cached


def test_a_saved_file_asks_for_the_module(module: nn.Module, conversion: em.Conversion, tmp_path: Path) -> None:
    path = conversion.save(tmp_path / "small.tflite")
    assert path.read_bytes() == conversion.content
    with pytest.raises(em.RequestError, match="made from a torch.nn.Module, Small.*source=module"):
        em.verify(path)
    assert em.verify(path, module).passed
    torch.manual_seed(1)
    assert not em.verify(path, Small().eval()).passed


def test_training_goes_on_without_harm(module: nn.Module) -> None:
    """The conversion keeps a copy: what becomes of the module later does not reach it."""
    mine = Small().eval()
    result = em.convert(mine, resolution=32)
    with torch.no_grad():
        mine.head.weight.add_(1)
    assert mine.head.weight.requires_grad
    assert em.verify(result).passed


def test_example_inputs_say_the_shape() -> None:
    radar = em.convert(Small(5).eval(), example_inputs=torch.zeros(1, 5, 32, 32))
    assert em.inspect(radar).inputs[0].shape == (1, 32, 32, 5)
    assert em.verify(radar).passed


def test_a_module_of_two_inputs() -> None:
    pair = Pair().eval()
    first, second = torch.randn(1, 6), torch.randn(1, 3)
    with em.load(em.convert(pair, example_inputs=(first, second))) as model:
        (output,) = model(first=first.numpy(), second=second.numpy()).values()
        assert _agrees(output, pair(first, second))
        with pytest.raises(em.RequestError, match="expected 2 input.*first, second"):
            model(first.numpy())


def test_base_r224_by_name(base_r224_tflite: Path) -> None:
    result = em.convert("base-r224")
    assert result.content == base_r224_tflite.read_bytes() and result.report.cached
    assert [item.name for item in result.report.passes if item.fired][:2] == ["layer-norm", "linear-attention"]


def test_a_detector_at_a_small_resolution() -> None:
    detector = em.convert("det-r416", resolution=96)
    photograph = np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8)
    with em.load(detector) as model:
        outputs = model(photograph)
    assert outputs["boxes"].shape[-1] == 4 and outputs["boxes"].shape[:-1] == outputs["scores"].shape[:-1]
    assert all(np.isfinite(value).all() for value in outputs.values())


@pytest.fixture
def unpacked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Fills with the names of the files that a ``Tflite`` unpacks."""
    names: list[str] = []

    def spy(content: bytes, name: str = "this file") -> object:
        names.append(name)
        return unpack(content, name)

    monkeypatch.setattr("evit_mobile.tflite.file.unpack", spy)
    return names


def test_int8_from_arrays(module: nn.Module, unpacked: list[str]) -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (16, 32, 32, 3), np.uint8)
    result = em.convert(module, resolution=32, precision="int8", calibration=pictures, mean=0.5, std=0.25)
    assert unpacked == ["Small"] * 2  # once to read, once to edit
    unpacked.clear()
    em.inspect(result)
    assert len(unpacked) == 1
    assert result.report.precision is em.Precision.INT8
    assert {item.precision for item in result.report.plan} >= {em.Precision.INT8}
    assert em.verify(result).passed


def test_an_onnx_file(module: nn.Module, tmp_path: Path) -> None:
    path = tmp_path / "small.onnx"
    torch.onnx.export(module, (torch.zeros(1, 3, 32, 32),), str(path), dynamo=False, input_names=["x"])
    onnx.checker.check_model(str(path))
    assert em.verify(em.convert(path)).reference == "onnxruntime"


def test_bench_gives_a_result_file(conversion: em.Conversion, tmp_path: Path) -> None:
    settings = em.RunSettings(runs=4, rounds=2, min_time_s=0)
    results = em.bench([conversion, conversion.save(tmp_path / "twin.tflite")], settings=settings)
    assert [point.name for point in results.points] == ["Small", "twin"]
    assert all(point.error is None and point.partitions == 1 and point.values for point in results.points)
    save_results(results, tmp_path / "results.json")
    assert load_results(tmp_path / "results.json") == results


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: em.convert("base-r22"), "did you mean base-r224"),
        (lambda: em.convert(Small()), "training mode.*eval"),
        (lambda: em.convert(3), "int cannot be converted"),  # type: ignore[arg-type]
        (lambda: em.convert("base-r192", precision="int7"), "no precision 'int7'.*int8"),
        (lambda: em.convert("base-r192", precision="int8"), "calibration"),
        (
            lambda: em.convert(Pair().eval(), example_inputs=torch.zeros(1, 6)),
            "1 example inputs, forward takes first, second",
        ),
        (lambda: em.convert(Pair().eval(), resolution=32), "Pair cannot run"),
        (lambda: em.verify("absent.tflite"), "No such file"),
        (lambda: em.inspect(Path(__file__)), "not a .tflite"),
        (lambda: em.load("absent.tflite"), "No such file"),
        (lambda: em.load(Path(__file__), runtime="litertt"), "did you mean litert"),
        (lambda: em.bench([]), "no model to measure"),
        (lambda: em.bench(["absent.tflite"], "toaster"), "no device kind 'toaster'"),
    ],
)
def test_bad_requests(call: object, message: str) -> None:
    with pytest.raises(em.RequestError, match=message):
        call()  # type: ignore[operator]


def test_importing_is_light() -> None:
    """What a public name needs is imported when it is used."""
    script = "import sys, evit_mobile as em\n"
    script += "print(*(name for name in ('torch', 'numpy', 'converters') if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
