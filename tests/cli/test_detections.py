"""Detectors that select their boxes in the file. The oracles are our own selection of the plain file's boxes, and
PyTorch; MediaPipe's tests are in ``tests/mediapipe_tasks``.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import Tensor, nn

import evit_mobile as em
from converters.options import ConvertOptions
from converters.tflite.postprocess import OP
from evit_mobile.card import ModelCard
from evit_mobile.cli.run import command as run
from evit_mobile.errors import RequestError
from evit_mobile.specs import Ends, Pixels, Resolution
from tests.conftest import ROOT
from tests.kits.small_network import make

DRAWING = ROOT / "evit_mobile" / "models" / "shapes" / "drawing.png"


class Detector(nn.Module):
    """Four boxes that lie where they are told, on a picture of 32x64, and three classes; scores say how light it is."""

    def __init__(self) -> None:
        super().__init__()
        self.body = make()
        corners = [[2.0, 4, 10, 24], [3, 5, 10, 24], [40, 2, 60, 30], [2, 4, 10, 24]]
        self.boxes = nn.Buffer(torch.tensor(corners)[None])
        scores = [[0.9, 0.1, 0], [0.8, 0.2, 0], [0, 0, 0.7], [0.1, 0.6, 0.3]]
        self.chances = nn.Buffer(torch.tensor(scores)[None])

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        light = torch.sigmoid(self.body(image).mean((1, 2, 3))).reshape(1, 1, 1)
        return {"scores": self.chances * light, "boxes": self.boxes + 0 * light}


def _found(path: Path, picture: Path, *options: str) -> list[dict[str, Any]]:
    done = CliRunner().invoke(run, [str(path), "--image", str(picture), "--json", *options], catch_exceptions=False)
    answers: list[dict[str, Any]] = json.loads(done.stdout)["result"]
    return answers


def test_selects_as_run_does(converted: Callable[..., Path]) -> None:
    plain = converted("shapes-det")
    path = converted("shapes-det", ends=Ends(Pixels.UINT8, nms=True))
    expected, given = _found(plain, DRAWING), _found(path, DRAWING)
    assert [item["name"] for item in given] == [item["name"] for item in expected] and len(given) == 3
    for ours, theirs in zip(given, expected):
        assert ours["score"] == pytest.approx(theirs["score"], abs=1e-4)
        np.testing.assert_allclose(ours["box"], theirs["box"], atol=0.05)  # pixels, of a drawing of 500
    inspection = em.inspect(path)
    assert inspection.partitions == 1
    assert [item.type for item in inspection.undelegated] == [OP]
    assert em.verify(path).passed


def test_a_detector_of_ones_own(tmp_path: Path) -> None:
    """Boxes 1 and 2 overlap and are of one class; 4 is where 1 is, of another class. By its corners alone the logarithm
    of a box is taken in the file, which XNNPACK leaves to TFLite.
    """
    card = ModelCard.of(scale=255, task="detection", labels=("cat", "dog", "bird"))
    options = ConvertOptions(Resolution(32, 64), card=card, ends=Ends(Pixels.RAW, nms=True))
    module = Detector().eval()
    conversion = em.convert(module, options)
    path = conversion.save(tmp_path / "own.tflite")
    with em.load(path) as model:
        outputs = model(np.full((1, 32, 64, 3), 128, np.float32))
    with torch.no_grad():
        scores = module(torch.full((1, 3, 32, 64), 128.0))["scores"][0]
    count = int(outputs["number of detections"][0])
    ratios = np.array([[4 / 32, 2 / 64, 24 / 32, 10 / 64], [2 / 32, 40 / 64, 30 / 32, 60 / 64]])
    best = [scores[0, 0], scores[2, 2], scores[3, 1]]
    np.testing.assert_allclose(outputs["score"][0, :3], best, atol=1e-5)
    np.testing.assert_allclose(outputs["location"][0, :3], [*ratios, ratios[0]], atol=1e-5)
    assert outputs["category"][0, :3].tolist() == [0, 2, 1] and count >= 3
    assert em.verify(path, module).passed


def test_each_of_several_resolutions_selects(tmp_path: Path) -> None:
    """Boxes as from the file of that resolution alone; ``verify`` compares what goes into the selection."""
    sides = (192, 96)
    conversion = em.convert("shapes-det", ConvertOptions(ends=Ends(Pixels.UINT8, nms=True)), resolution=[*sides])
    path, alone = conversion.save(tmp_path / "several.tflite"), tmp_path / "alone.tflite"
    assert len(conversion.content) < 1.1 * max(len(part.content) for part in conversion.parts.values())
    for signature, part in conversion.parts.items():
        part.save(alone)
        assert _found(path, DRAWING, "--signature", signature) == _found(alone, DRAWING)
        inspection = em.inspect(path, signature=signature)
        assert inspection.partitions == 1 and [item.type for item in inspection.undelegated] == [OP]
        report = em.verify(path, signature=signature)
        assert report.passed and {row.output for row in report.rows} == {"encodings", "scores"}
    assert _found(path, DRAWING, "--signature", "r192")


@pytest.mark.parametrize(
    ("model", "options", "problem"),
    [
        ("base-r192", ConvertOptions(ends=Ends(nms=True)), "no such detector"),
        (
            "shapes-det",
            ConvertOptions(
                precision=em.Precision.INT8, calibration=".", io_type=em.IoType.UINT8, ends=Ends(Pixels.UINT8, nms=True)
            ),
            "reads boxes in float32",
        ),
        (
            "own",
            ConvertOptions(Resolution(32, 64), card=ModelCard(task="detection"), ends=Ends(nms=True)),
            "the names of its classes are not known",
        ),
    ],
)
def test_what_cannot_select(model: str, options: ConvertOptions, problem: str) -> None:
    with pytest.raises(RequestError, match=problem):
        em.convert(Detector().eval() if model == "own" else model, options)
