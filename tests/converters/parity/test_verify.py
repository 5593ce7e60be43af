"""verify on sound models: what is compared, what the report says, and which requests are refused."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from converters.options import ConvertOptions
from converters.parity.reference import SourceRequest
from converters.parity.stimuli import bundled_photograph, verification_stimuli
from converters.parity.verify import verify_model
from converters.pipeline import convert, convert_in_memory
from converters.source.load import module_source
from evit_mobile.errors import RequestError
from evit_mobile.models import find_model
from evit_mobile.runtimes.base import CONFIGURATIONS
from evit_mobile.specs import Preprocessing, Resolution

SMALL = Resolution(96, 96)


def test_every_row_of_a_sound_model_passes(small_tflite: Path) -> None:
    report = verify_model(small_tflite, layers=True)
    assert report.passed, report.worst()
    assert report.inputs == ["noise", "zeros", "ones", "black", "white", "hot_pixel", "photograph"]
    # ONNX Runtime once, LiteRT in every configuration; one output.
    assert len(report.rows) == len(report.inputs) * (1 + len(CONFIGURATIONS))
    assert all(row.difference.top1_agrees for row in report.rows)
    assert report.layers is not None and report.layers.parted is None
    # Not vacuous: most layers are found again in the file.
    assert sum(layer.tensor is not None for layer in report.layers.layers) > len(report.layers.layers) / 2
    document = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert document["passed"] is True and document["criterion"] == {"measure": "relative_error", "bound": 1e-4}
    fields = {"runtime", "xnnpack", "threads", "input", "output", "relative_error", "cosine", "passed"}
    assert fields <= document["rows"][0].keys() and "difference" not in document["rows"][0]


class Spoiled(nn.Module):
    """Normalised features, and their variance over positions; with a counter of calls where it is asked for."""

    def __init__(self, *, counting: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.counting = nn.Conv2d(3, 8, 3, 4, 1), counting
        self.register_buffer("calls", torch.zeros(1))

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if self.counting:
            self.calls += 1
        features = self.conv(image)
        return F.normalize(features, dim=1) + self.calls, features.flatten(2).var(2)


def test_what_is_no_function_of_its_input_is_never_passed(tmp_path: Path) -> None:
    source = module_source(Spoiled(counting=True).eval(), Resolution(32, 32))
    path = convert_in_memory(source, ConvertOptions(check=False)).save(tmp_path / "counting.tflite")
    with pytest.raises(RequestError, match="not a function of its input: buffer calls changes"):
        verify_model(path, SourceRequest(source=source))


def test_an_output_that_is_zero_may_be_off_by_rounding(tmp_path: Path) -> None:
    """A 1x1 convolution of a constant image has a variance of exactly 0 over its positions."""
    module = Spoiled(counting=False).eval()
    module.conv = nn.Conv2d(3, 8, 1)
    source = module_source(module, Resolution(32, 32))
    path = convert_in_memory(source).save(tmp_path / "zero.tflite")
    report = verify_model(path, SourceRequest(source=source))
    assert report.passed, report.worst()


def test_reference_is_built_with_the_same_seed(tmp_path: Path) -> None:
    convert("base-r192", tmp_path / "seed.tflite", ConvertOptions(SMALL, seed=7))
    assert verify_model(tmp_path / "seed.tflite").passed


def test_stimuli() -> None:
    stimuli = {item.name: item.image for item in verification_stimuli(Resolution(64, 32), 3, Preprocessing())}
    assert {image.shape for image in stimuli.values()} == {(1, 64, 32, 3)}
    # ImageNet's extremes: (0 - 0.485) / 0.229 and (1 - 0.406) / 0.225.
    assert stimuli["black"].min() == pytest.approx(-2.1179, abs=1e-4) and stimuli["white"].max() == pytest.approx(
        2.64, abs=1e-4
    )
    assert (stimuli["hot_pixel"] != stimuli["black"]).sum() == 3
    assert stimuli["photograph"].std() > 0.5
    assert [item.name for item in verification_stimuli(SMALL, 1, Preprocessing())] == ["noise", "zeros", "ones"]
    assert bundled_photograph().is_file()


def test_weights_that_it_was_made_from_are_asked_for(tmp_path: Path) -> None:
    module = find_model("base-r192").build()
    torch.save(module.state_dict(), tmp_path / "a.pt")
    torch.save(
        {key: value + 1 if value.is_floating_point() else value for key, value in module.state_dict().items()},
        tmp_path / "b.pt",
    )
    model = tmp_path / "model.tflite"
    convert("base-r192", model, ConvertOptions(SMALL, weights=tmp_path / "a.pt"))
    assert verify_model(model, SourceRequest(weights=tmp_path / "a.pt")).passed
    with pytest.raises(RequestError, match="weights from a file.*--weights FILE"):
        verify_model(model)
    with pytest.raises(RequestError, match="was not made with .*expected SHA-256"):
        verify_model(model, SourceRequest(weights=tmp_path / "b.pt"))
    with pytest.raises(RequestError, match="do not exist"):
        verify_model(model, SourceRequest(weights=tmp_path / "absent.pt"))


def test_contradictions_are_refused(small_tflite: Path, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="takes 96 images, not 128"):
        verify_model(small_tflite, SourceRequest(resolution=Resolution(128, 128)))
    with pytest.raises(RequestError, match="made from base-r192, not from base-r224"):
        verify_model(small_tflite, SourceRequest(model="base-r224"))
    (tmp_path / "any.pt").write_bytes(b"")
    with pytest.raises(RequestError, match="weights from seed 0"):
        verify_model(small_tflite, SourceRequest(weights=tmp_path / "any.pt"))


class _Outputs(torch.nn.Module):
    """Three outputs of ranks 4, 2 and 4."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = torch.nn.Conv2d(3, 8, 3, 2, 1)
        self.map = torch.nn.Conv2d(8, 5, 1)

    def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        features = torch.relu(self.stem(image))
        return {"map": self.map(features), "mean": features.mean((2, 3))}


def _save_onnx(path: Path, seed: int) -> Path:
    torch.manual_seed(seed)
    names = ["map", "mean"]
    torch.onnx.export(
        _Outputs().eval(), (torch.zeros(1, 3, 32, 48),), str(path), dynamo=False, input_names=["x"], output_names=names
    )
    return path


def test_onnx_source(tmp_path: Path) -> None:
    """ONNX Runtime is the reference; a map's NCHW and the file's NHWC are told apart; another file is refused."""
    source, other = _save_onnx(tmp_path / "net.onnx", 0), _save_onnx(tmp_path / "other.onnx", 1)
    model = tmp_path / "net.tflite"
    convert(str(source), model)
    report = verify_model(model, SourceRequest(model=str(source)), layers=True)
    assert report.passed and report.reference == "onnxruntime"
    assert {row.output for row in report.rows} == {"map", "mean"} and {row.runtime for row in report.rows} == {"litert"}
    assert report.layers is not None and report.layers.parted is None
    with pytest.raises(RequestError, match="was not made from .*other.onnx"):
        verify_model(model, SourceRequest(model=str(other)))
    with pytest.raises(RequestError, match="made from an ONNX file.*net.onnx"):
        verify_model(model)


def test_a_file_without_our_entry(small_tflite: Path, tmp_path: Path, without_entry: Callable[[Path], Path]) -> None:
    bare = without_entry(small_tflite)
    with pytest.raises(RequestError, match="does not say what it was made from.*--model"):
        verify_model(bare)
    assert verify_model(bare, SourceRequest("base-r192", SMALL)).passed
    assert not verify_model(bare, SourceRequest("base-r224-w1.2", SMALL)).passed
    with pytest.raises(RequestError, match="96, 96.*128, 128"):
        verify_model(bare, SourceRequest("base-r192", Resolution(128, 128)))


class CancellingOnWhite(torch.nn.Module):
    """On a white picture two ways of taking its mean, which only rounding tells apart, are subtracted and blown up."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = torch.nn.Conv2d(3, 8, 3, 2, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        gate = torch.relu(image.mean((1, 2, 3)) - 2)
        rounding = image.mean((1, 2, 3)) - image.mean(3).mean(2).mean(1)
        return self.stem(image).mean((2, 3)) + (1e6 * gate * rounding)[:, None]


def test_an_input_that_float32_is_too_coarse_for_is_not_judged(tmp_path: Path) -> None:
    """Oracle: PyTorch's float64. Where no input is left, nothing is shown, and that is no parity."""
    model = tmp_path / "model.tflite"
    source = f"{__name__}:CancellingOnWhite"
    convert(source, model, ConvertOptions(Resolution(50, 70)))
    report = verify_model(model, SourceRequest(source))
    assert [(item.input, item.relative_error > 1e-4) for item in report.ill_conditioned] == [("white", True)]
    assert report.passed and {row.input for row in report.rows if not row.passed} == {"white"}
    [item] = report.ill_conditioned
    nothing_left = [dataclasses.replace(item, input=name) for name in report.inputs]
    assert not dataclasses.replace(report, ill_conditioned=nothing_left).passed
