"""A network of the user's own, a fine-tuned one, and one of another ImageNet: what they are is said once, and every
command knows it. The oracles are PyTorch and timm.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from click.testing import CliRunner
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

import evit_mobile as em
from benchmarks.accuracy import shapes
from converters.parity.stimuli import verification_stimuli
from evit_mobile.card import LARGEST_LABEL_FILE, CardArguments, ModelCard, read_labels
from evit_mobile.cli.evaluate import command as evaluate
from evit_mobile.cli.run import command as run
from evit_mobile.errors import RequestError
from evit_mobile.models.zoo import load_zoo_model
from evit_mobile.specs import Preprocessing
from evit_mobile.tflite.description import read_description

SIDE, COLOURS = 32, ("red", "green", "blue")


class ColourNet(nn.Module):
    """Takes RGB of 0 to 255, and says which colour there is most of."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.features = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 16, 3, 2, 1), nn.ReLU())
        self.classify = nn.Linear(16, len(COLOURS))

    def forward(self, image: Tensor) -> Tensor:
        shares = image.mean((2, 3)) / 16
        logits: Tensor = self.classify(self.features(image / 64).mean((2, 3))) + shares
        return logits


@pytest.fixture(scope="module")
def net() -> ColourNet:
    return ColourNet().eval()


@pytest.fixture(scope="module")
def colours(net: ColourNet, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The network in int8, calibrated on a folder of pictures."""
    path = tmp_path_factory.mktemp("colours") / "colours.tflite"
    conversion = em.convert(
        net,
        resolution=SIDE,
        precision="int8",
        calibration=photos,
        scale=255,
        task="classification",
        labels=COLOURS,
    )
    conversion.save(path)
    return path


def _reference(net: nn.Module, picture: Path) -> NDArray[np.float32]:
    """PyTorch's logits for a picture of ``SIDE`` over 0.875, whose middle an input is."""
    edge = (Image.open(picture).width - SIDE) // 2
    pixels = np.asarray(Image.open(picture).crop((edge, edge, edge + SIDE, edge + SIDE)), np.float32)
    with torch.no_grad():
        logits: NDArray[np.float32] = net(torch.from_numpy(pixels).permute(2, 0, 1)[None]).numpy()[0]
    return logits


def _pictures(folder: Path) -> list[Path]:
    """Drawings that calibration did not see, of 36 pixels: 32 over 0.875, truncated. Number 102 has two best classes:
    7.62 and 7.64.
    """
    folder.mkdir(exist_ok=True)
    paths = [folder / f"{seed}.png" for seed in range(100, 108) if seed != 102]
    for path in paths:
        shapes.draw(int(path.stem)).image.resize((36, 36)).save(path)
    return paths


def test_a_network_of_0_to_255_is_calibrated_and_run_as_such(net: ColourNet, colours: Path, tmp_path: Path) -> None:
    """Power of PyTorch's logits over that of the difference: 45 dB or more. Calibration that took the pictures for
    normalised ones gave 10 to 27 dB.
    """
    expected, actual = [], []
    for picture in _pictures(tmp_path / "set"):
        done = CliRunner().invoke(run, [str(colours), "--image", str(picture), "--json"], catch_exceptions=False)
        logits = _reference(net, picture)
        best = json.loads(done.stdout)["result"]
        assert best[0]["name"] == COLOURS[int(logits.argmax())]
        with em.load(colours) as model:
            edge = np.asarray(Image.open(picture))
            actual.append(model(edge)["output"][0])
        expected.append(logits)
    power, noise = np.square(expected).sum(), np.square(np.subtract(expected, actual)).sum()
    assert 10 * np.log10(power / noise) >= 45


def test_evaluate_knows_the_names(net: ColourNet, colours: Path, tmp_path: Path) -> None:
    pictures = _pictures(tmp_path / "drawings")
    for picture in pictures:
        place = tmp_path / "set" / COLOURS[int(_reference(net, picture).argmax())]
        place.mkdir(parents=True, exist_ok=True)
        picture.rename(place / picture.name)
    done = CliRunner().invoke(
        evaluate, [str(colours), "--data", str(tmp_path / "set"), "--json"], catch_exceptions=False
    )
    figures = json.loads(done.stdout)
    assert (figures["task"], figures["images"], figures["top1"]) == ("classification", len(pictures), 1.0)


def test_the_file_says_what_was_said(colours: Path) -> None:
    description = read_description(colours)
    assert description is not None and description.labels == COLOURS and description.task == "classification"
    assert description.preprocessing == Preprocessing((0.0,) * 3, (1 / 255,) * 3)
    with zipfile.ZipFile(colours) as archive:
        assert archive.read("labels.txt").decode().splitlines() == list(COLOURS)


def test_verify_knows_how_a_module_takes_pictures(net: ColourNet, colours: Path) -> None:
    """Noise of the pixels that a picture has, not of a hundredth of them, comes to what photographs do; a black
    picture, whose outputs are a fiftieth of theirs, is judged as fainter.
    """
    report = em.verify(colours, net)
    assert report.passed
    figures = {row.input: row.difference.sqnr_db or np.inf for row in report.rows if row.runtime == "litert"}
    assert figures["noise"] >= 45 and figures["zeros"] >= 45
    faint = {row.input for row in report.rows if row.faint_sqnr_db is not None}
    assert "black" in faint <= {"black", "hot_pixel"}
    described = read_description(colours)
    assert described is not None
    noise, *_ = verification_stimuli(em.Resolution(SIDE, SIDE), 3, described.preprocessing)
    assert noise.image.min() >= 0 and 200 <= noise.image.max() <= 255
    np.testing.assert_allclose(noise.image, noise.image.round(), atol=1e-4)


def test_a_broken_file_is_not_taken_for_faint(net: ColourNet, colours: Path, tmp_path: Path) -> None:
    """A file whose outputs are all of its bias is wrong on photographs, however black pictures are judged."""
    other = ColourNet().eval()
    with torch.no_grad():
        other.classify.bias += 1
    assert not em.verify(colours, other).passed


def test_a_folder_is_asked_about(net: ColourNet, photos: Path, tmp_path: Path) -> None:
    torch.onnx.export(net, (torch.zeros(1, 3, SIDE, SIDE),), tmp_path / "net.onnx", dynamo=False)
    for model in (net, tmp_path / "net.onnx"):
        with pytest.raises(RequestError, match="how a picture becomes the model's input is not known") as refused:
            em.convert(model, precision="int8", calibration=photos)
        assert all(flag in str(refused.value.hint) for flag in ("--mean", "--std", "--scale"))


def test_a_file_that_was_told_nothing_is_told_by_run(net: ColourNet, tmp_path: Path) -> None:
    path, (picture, *_) = tmp_path / "plain.tflite", _pictures(tmp_path / "set")
    em.convert(net, resolution=SIDE).save(path)
    description = read_description(path)
    assert description is not None and description.preprocessing is None and description.labels is None
    with pytest.raises(RequestError, match="does not say how a picture becomes its input"):
        em.load(path)(np.asarray(Image.open(picture)))
    asked = [str(path), "--image", str(picture)]
    for problem, more in (
        ("classifies, detects or segments", []),
        ("how a picture becomes its input", ["--task", "classification"]),
        ("no answer for detection", ["--task", "detection", "--scale", "255"]),
    ):
        with pytest.raises(RequestError, match=problem):
            CliRunner().invoke(run, [*asked, *more], catch_exceptions=False)
    done = CliRunner().invoke(
        run, [*asked, "--task", "classification", "--scale", "255", "--json"], catch_exceptions=False
    )
    assert json.loads(done.stdout)["result"][0]["name"] == f"class {_reference(net, picture).argmax()}"


def test_another_number_of_names_than_classes(net: ColourNet) -> None:
    with pytest.raises(RequestError, match="--labels has 2 names, the model 3 classes"):
        em.convert(net, resolution=SIDE, task="classification", labels=["red", "green"])
    with pytest.raises(RequestError, match="no network for detection"):
        em.convert(net, resolution=SIDE, task="detection")


@pytest.mark.parametrize("ending", [".pt", ".safetensors"])
def test_a_fine_tuned_checkpoint_says_its_classes(ending: str, tmp_path: Path) -> None:
    """Ten classes, as timm's own training saves them; the logits are timm's."""
    from converters.source.load import load_source

    module = timm.create_model("mobilenetv3_small_050", num_classes=10).eval()
    path = tmp_path / f"flowers{ending}"
    if ending == ".pt":
        torch.save({"state_dict": module.state_dict()}, path)
    else:
        from safetensors.torch import save_model

        save_model(module, path)
    source = load_source("timm:mobilenetv3_small_050", em.Resolution(32, 32), path)
    image = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert source.module is not None and source.task == "classification"
    with torch.no_grad():
        torch.testing.assert_close(source.module(image), module(image), atol=1e-5, rtol=1e-5)


def test_a_fine_tuned_checkpoint_is_converted_and_verified(tmp_path: Path) -> None:
    module = timm.create_model("mobilenetv3_small_050", num_classes=10).eval()
    weights, names = tmp_path / "flowers.pth", tuple(f"flower {index}" for index in range(10))
    torch.save(module.state_dict(), weights)
    options = em.ConvertOptions(weights=weights, card=ModelCard.of(labels=names))
    conversion = em.convert("timm:mobilenetv3_small_050", options, resolution=32)
    conversion.save(tmp_path / "flowers.tflite")
    with em.load(conversion) as model:
        assert model.outputs == {"logits": (1, 10)}
    description = read_description(tmp_path / "flowers.tflite")
    assert description is not None and description.labels == names and description.has_trained_weights
    assert em.verify(tmp_path / "flowers.tflite", weights=weights).passed


@pytest.mark.parametrize(("model", "layer"), [("base-r192", "head.classify"), ("seg-r1408", "head.classify")])
def test_our_models_have_other_heads_too(model: str, layer: str, tmp_path: Path) -> None:
    from converters.source.load import load_source

    source = load_source(model, em.Resolution(64, 64), card=ModelCard(classes=5))
    assert source.module is not None and source.module.get_submodule(layer).weight.shape[0] == 5
    torch.save(source.module.state_dict(), tmp_path / "five.pt")
    again = load_source(model, em.Resolution(64, 64), tmp_path / "five.pt")
    assert again.module is not None and again.module.get_submodule(layer).weight.shape[0] == 5


def test_classes_of_a_larger_imagenet_have_timms_names() -> None:
    model = load_zoo_model("timm:mobilenetv3_large_100.miil_in21k")
    assert model.task == "classification" and model.labels is not None
    assert (len(model.labels), model.labels[0]) == (11221, "benthos")
    assert load_zoo_model("timm:mobilenetv3_small_050", classes=7).labels is None


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"mean": 0.5}, "--mean is given without --std"),
        ({"std": 0.5}, "--std is given without --mean"),
        ({"mean": (123.7, 116.8, 103.9), "std": 58}, "brighter than white"),
        ({"mean": 0, "std": 58}, "out of range for pixels of 0 to 1"),
        ({"mean": 0, "std": 0}, "out of range"),
        ({"mean": (0.1, 0.2), "std": 1}, "not three numbers"),
        ({"mean": float("nan"), "std": 1}, "not three numbers"),
        ({"scale": -1}, "no value of a white pixel"),
        ({"scale": float("inf")}, "no value of a white pixel"),
        ({"scale": 1e-9}, "out of range"),
        ({"task": "poetry"}, "there is no task"),
        ({"classes": 0}, "cannot have 0 classes"),
        ({"labels": []}, "hold 0 names"),
        ({"labels": ["a", ""]}, "name 2 is empty"),
        ({"labels": ["a\x1b[2J"]}, "not printable"),
        ({"labels": ["a" * 201]}, "longer than 200"),
        ({"labels": ["a", "b"], "classes": 3}, "--labels has 2 names, --classes says 3"),
    ],
)
def test_what_no_model_is(arguments: CardArguments, problem: str) -> None:
    with pytest.raises(RequestError, match=problem):
        ModelCard.of(**arguments)


@pytest.mark.parametrize(
    ("write", "problem"),
    [
        (lambda path: path.write_bytes(b"\xff\xfe\x00"), "not text"),
        (lambda path: path.write_text("one\n\ntwo\n"), "name 2 is empty"),
        (lambda path: path.mkdir(), "cannot be read"),
        (lambda path: path.write_bytes(b"a" * (LARGEST_LABEL_FILE + 1)), "too large"),
    ],
)
def test_files_that_are_no_labels(write: Callable[[Path], object], problem: str, tmp_path: Path) -> None:
    write(tmp_path / "labels.txt")
    with pytest.raises(RequestError, match=problem):
        read_labels(tmp_path / "labels.txt")


def test_labels_of_windows_editors(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_bytes("\ufeffcafé\r\nbar \r\n\r\n".encode())
    assert read_labels(tmp_path / "labels.txt") == ["café", "bar"]


def test_caffes_pixels() -> None:
    """0..255 with a mean and no deviation: (255 x - 124) / 1 is (x - 124 / 255) / (1 / 255)."""
    preprocessing = ModelCard.of(mean=(124, 117, 104), std=1, scale=255).preprocessing(None, "segmentation")
    assert preprocessing is not None and preprocessing.fit == "pad"
    assert preprocessing.mean == pytest.approx((124 / 255, 117 / 255, 104 / 255))
    assert preprocessing.std == pytest.approx((1 / 255,) * 3)
