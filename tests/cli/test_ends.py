"""Pixels in, probabilities out. The oracles are PyTorch and ONNX Runtime; LiteRT says what its delegate takes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from click.testing import CliRunner
from torch import Tensor, nn

import evit_mobile as em
from converters.options import ConvertOptions
from converters.parity.stimuli import bundled_photograph, verification_stimuli
from evit_mobile.card import ModelCard
from evit_mobile.cli.main import main
from evit_mobile.cli.run import command as run
from evit_mobile.errors import RequestError
from evit_mobile.specs import Activation, Ends, Pixels, Preprocessing, Resolution
from evit_mobile.tflite.file import Tflite
from tests.kits.small_network import make

SIDE = 32
CARD = ModelCard.of(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), task="classification")


class Classifier(nn.Module):
    """Seven classes of normalised pictures."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.classify = make(), nn.Linear(32, 7)

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.classify(self.body(image).mean((2, 3))) * 8
        return logits


@pytest.fixture(scope="module")
def net() -> Classifier:
    torch.manual_seed(1)
    return Classifier().eval()


def _convert(net: nn.Module, ends: Ends, **more: Any) -> em.Conversion:
    return em.convert(net, ConvertOptions(card=CARD, ends=ends, resolution=Resolution(SIDE, SIDE), **more))


def _probabilities(net: nn.Module, photograph: Path) -> list[float]:
    """PyTorch's softmax for the picture that ``run`` makes a file's input of."""
    from evit_mobile.vision.images import load_image

    image = load_image(photograph, Resolution(SIDE, SIDE), Preprocessing())
    with torch.no_grad():
        return net(torch.from_numpy(image).permute(0, 3, 1, 2)).softmax(1)[0].tolist()


def _of(path: Path, photograph: Path) -> list[float]:
    done = CliRunner().invoke(run, [str(path), "--image", str(photograph), "--json"], catch_exceptions=False)
    answers = json.loads(done.stdout)["result"]
    return [next((item["probability"] for item in answers if item["index"] == index), np.nan) for index in range(7)]


#: With the largest error of a probability: fp32's rounding; fp16 and int8 by their own bounds on logits of up to 3.
CASES = [
    (Pixels.UNIT, "fp32", 1e-5),
    (Pixels.UINT8, "fp32", 1e-5),
    (Pixels.RAW, "fp16", 5e-3),
    (Pixels.UINT8, "dynamic", 2e-2),
    (Pixels.UNIT, "int8", 2e-2),
    (Pixels.UINT8, "int8", 2e-2),
]


@pytest.mark.parametrize(("pixels", "precision", "bound"), CASES)
def test_pixels_in_probabilities_out(
    net: Classifier, photos: Path, pixels: Pixels, precision: str, bound: float, tmp_path: Path
) -> None:
    calibration = str(photos) if precision == "int8" else None
    conversion = _convert(
        net, Ends(pixels, Activation.SOFTMAX), precision=em.Precision(precision), calibration=calibration
    )
    path, photograph = tmp_path / "net.tflite", bundled_photograph()
    conversion.save(path)
    inspection = em.inspect(path)
    assert inspection.partitions == 1 and not inspection.undelegated
    file = Tflite.read(path)
    (index,) = file.graph.inputs
    assert file.graph.tensors[index].dtype == ("uint8" if pixels is Pixels.UINT8 else "float32")
    expected, given = _probabilities(net, photograph), _of(path, photograph)
    assert np.nanmax(np.abs(np.subtract(expected, given))) <= bound
    assert em.verify(path, net).passed
    # The same picture as an app hands it over, at the input's size.
    with em.load(path) as model:
        white = np.full((SIDE, SIDE, 3), 255, np.uint8)
        fed = np.full((1, SIDE, SIDE, 3), 1.0 if pixels is Pixels.UNIT else 255.0, np.float32)
        (by_picture,), (by_input,) = model(white).values(), model(fed).values()
        np.testing.assert_allclose(by_picture, by_input, atol=1e-6)  # 255 times 1 / 255 is not 1 in float32


def test_uint8_to_uint8(net: Classifier, photos: Path, tmp_path: Path) -> None:
    """``--io-type uint8`` of a file that normalises: raw pixels in; probabilities out by steps of their scale."""
    ends = Ends.of(True, None, "uint8", ("softmax",))
    assert ends.pixels is Pixels.UINT8
    path = _convert(net, ends, precision=em.Precision.INT8, calibration=str(photos), io_type=em.IoType.UINT8).save(
        tmp_path / "net.tflite"
    )
    graph = Tflite.read(path).graph
    assert [graph.tensors[index].dtype for index in (*graph.inputs, *graph.outputs)] == ["uint8", "uint8"]
    assert graph.tensors[graph.inputs[0]].scale == (1.0,) and graph.tensors[graph.inputs[0]].zero_point == (0,)
    expected, given = _probabilities(net, bundled_photograph()), _of(path, bundled_photograph())
    assert np.nanmax(np.abs(np.subtract(expected, given))) <= 2e-2


def test_sigmoid(net: Classifier, tmp_path: Path) -> None:
    path = _convert(net, Ends(None, Activation.SIGMOID)).save(tmp_path / "net.tflite")
    assert em.verify(path, net).passed
    (stimulus, *_) = verification_stimuli(Resolution(SIDE, SIDE), 3, Preprocessing())
    with em.load(path) as model, torch.no_grad():
        expected = net(torch.from_numpy(stimulus.image).permute(0, 3, 1, 2)).sigmoid().numpy()
        np.testing.assert_allclose(model(stimulus.image)["output"], expected, atol=1e-5)


def test_an_onnx_file(net: Classifier, tmp_path: Path) -> None:
    shape = torch.zeros(1, 3, SIDE, SIDE)
    torch.onnx.export(net, (shape,), tmp_path / "net.onnx", dynamo=False, opset_version=17)
    before = (tmp_path / "net.onnx").read_bytes()
    options = ConvertOptions(card=CARD, ends=Ends(Pixels.UNIT, Activation.SOFTMAX))
    path = em.convert(tmp_path / "net.onnx", options).save(tmp_path / "net.tflite")
    assert (tmp_path / "net.onnx").read_bytes() == before
    assert em.verify(path, tmp_path / "net.onnx").passed
    expected, given = _probabilities(net, bundled_photograph()), _of(path, bundled_photograph())
    assert np.nanmax(np.abs(np.subtract(expected, given))) <= 1e-5


def test_a_softmax_of_maps(net: Classifier, tmp_path: Path) -> None:
    """Over the classes, wherever the graph has them."""
    options = {"task": "segmentation", "mean": 0.5, "std": 0.5}
    body = net.body
    torch.onnx.export(body, (torch.zeros(1, 3, SIDE, SIDE),), tmp_path / "maps.onnx", dynamo=False, opset_version=17)
    ends, size = Ends(Pixels.RAW, Activation.SOFTMAX), Resolution(SIDE, SIDE)
    module = em.convert(body, ConvertOptions(ends=ends, resolution=size), **options)  # type: ignore[arg-type]
    file = em.convert(tmp_path / "maps.onnx", ConvertOptions(ends=ends), **options)  # type: ignore[arg-type]
    pixels = np.random.default_rng(0).integers(0, 256, (1, SIDE, SIDE, 3)).astype(np.float32)
    with torch.no_grad():
        expected = body(torch.from_numpy(pixels / 127.5 - 1).permute(0, 3, 1, 2)).softmax(1).permute(0, 2, 3, 1).numpy()
    for conversion in (module, file):
        with em.load(conversion) as model:
            (given,) = model(pixels).values()
        np.testing.assert_allclose(given, expected, atol=1e-5)


def test_our_models_say_what_they_give(tmp_path: Path) -> None:
    options = ConvertOptions(Resolution(64, 64), ends=Ends(Pixels.UNIT, Activation.SOFTMAX))
    path = em.convert("base-r192", options).save(tmp_path / "base.tflite")
    with em.load(path) as model:
        assert list(model.outputs) == ["probabilities"]
        (given,) = model(np.zeros((9, 9, 3), np.uint8)).values()
    assert given.sum() == pytest.approx(1, abs=1e-5)
    assert em.verify(path).passed


@pytest.mark.parametrize(
    ("network", "options", "problem"),
    [
        ("maps", ConvertOptions(ends=Ends(Pixels.UNIT)), "how a picture becomes its input is not known"),
        ("det-r416", ConvertOptions(ends=Ends(activation=Activation.SOFTMAX)), "boxes and scores"),
        ("seg-r1408+argmax", ConvertOptions(Resolution(64, 64), ends=Ends(None, Activation.SIGMOID)), "class numbers"),
        ("one", ConvertOptions(ends=Ends(Pixels.UNIT), card=CARD), "takes no picture"),
    ],
)
def test_what_has_no_such_ends(network: str, options: ConvertOptions, problem: str, tmp_path: Path) -> None:
    model: nn.Module | Path | str = network
    if network == "maps":
        model = make()
    elif network == "one":
        model = tmp_path / "one.onnx"
        torch.onnx.export(nn.Conv2d(1, 2, 1), (torch.zeros(1, 1, 8, 8),), model, dynamo=False, input_names=["grey"])
        assert onnx.load(model).graph.input[0].name == "grey"
    with pytest.raises(RequestError, match=problem):
        em.convert(model, options)


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        (["--input", "raw", "--no-normalise-in-graph"], "leave out one of the two"),
        (["--softmax", "--sigmoid"], "exclude each other"),
        (["--task", "poetry"], "'poetry' is not one of"),
        (["--input", "tea"], "'tea' is not one of"),
        (["--precision", "int8", "--calibration", ".", "--io-type", "int8", "--input", "raw"], "pixels are not int8"),
    ],
)
def test_one_line_says_what_was_wrong(
    more: list[str], problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["convert", "--model", "base-r192", "--out", str(tmp_path / "out.tflite"), *more])
    error = capsys.readouterr().err
    assert ended.value.code == 2 and problem in error and len(error.splitlines()) == 1
    assert not list(tmp_path.iterdir())
