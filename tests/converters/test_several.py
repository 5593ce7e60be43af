"""One file of several resolutions: each signature is the network at that resolution, and the weights are there once.

Oracles: the files of one resolution each, in interpreters of LiteRT's own that call signatures as an app does; PyTorch
through ``verify``.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import interpreter
from click.testing import CliRunner

import evit_mobile as em
from converters.report import Conversion
from evit_mobile.cli.main import cli
from evit_mobile.errors import RequestError
from evit_mobile.results.files import load
from evit_mobile.runtimes import RUNTIMES, Runtime
from evit_mobile.runtimes.inputs import random_input
from evit_mobile.tflite.file import Tflite
from evit_mobile.tflite.flatbuffer import pack
from tests.conftest import SMALL_MODEL

SIDES = (96, 64, 128)
SIGNATURES = ["r96", "r64", "r128"]


@pytest.fixture(scope="module")
def conversion(small_tflite: Path) -> Conversion:
    return em.convert(SMALL_MODEL, resolution=[*SIDES])


@pytest.fixture(scope="module")
def model(conversion: Conversion, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return conversion.save(tmp_path_factory.mktemp("several") / "model.tflite")


def test_weights_are_stored_once(conversion: Conversion) -> None:
    largest = max(len(part.content) for part in conversion.parts.values())
    assert len(conversion.content) <= 1.03 * largest
    assert conversion.report.resolution == "96, 64, 128" and list(conversion.report.signatures) == SIGNATURES
    tree = Tflite(conversion.content).tree
    assert len(tree.subgraphs) == len(SIDES)
    stored = [bytes(buffer.data) for buffer in tree.buffers if buffer.data is not None and len(buffer.data) > 1000]
    assert len(stored) == len(set(stored)) > 50


def test_an_app_gets_what_the_single_files_give(conversion: Conversion) -> None:
    """To the bit, in one interpreter whose signatures are called in turn, twice over."""
    app = interpreter.Interpreter(model_content=conversion.content)
    for key in [*SIGNATURES, *reversed(SIGNATURES)]:
        alone = interpreter.Interpreter(model_content=conversion.parts[key].content).get_signature_runner()
        (shape,) = (detail["shape"] for detail in alone.get_input_details().values())
        image = random_input(tuple(shape), "float32")
        assert shape[1] == int(key[1:])
        expected, actual = alone(image=image), app.get_signature_runner(key)(image=image)
        assert expected.keys() == actual.keys() == {"logits"}
        np.testing.assert_array_equal(actual["logits"], expected["logits"])


def test_an_app_that_names_no_signature_gets_the_first(conversion: Conversion) -> None:
    app = interpreter.Interpreter(model_content=conversion.content)
    app.allocate_tensors()
    assert list(app.get_input_details()[0]["shape"]) == [1, 96, 96, 3]


@pytest.mark.parametrize("name", RUNTIMES)
def test_every_signature_has_parity_and_one_partition(
    name: str, conversion: Conversion, installed: Callable[[str], Runtime]
) -> None:
    """One partition wherever the file of that resolution alone has one: tflite-runtime 2.14 takes fewer ops."""
    runtime = installed(name)
    told = None if name == "compiled-model" else True
    for key, side in list(zip(SIGNATURES, SIDES))[0 if name == "litert" else 1 : 2]:
        report = em.verify(conversion, runtimes=[runtime], signature=key)
        assert report.passed, report.worst()
        assert (report.resolution, report.signature) == (str(side), key)
        found = em.inspect(conversion, name, signature=key)
        alone = em.inspect(conversion.parts[key], name)
        assert (found.partitions, len(found.undelegated)) == (alone.partitions, len(alone.undelegated))
        assert name == "tflite-runtime" or (found.partitions, found.fully_accelerated) in [(1, True), (None, told)]
        assert found.subgraphs == len(SIDES)
        assert found.inputs[0].shape == (1, side, side, 3) and found.macs > 0


def test_a_resolution_has_to_be_named(conversion: Conversion, model: Path) -> None:
    for use in (em.verify, em.inspect, em.load):
        with pytest.raises(RequestError, match="has the signatures r96, r64, r128"):
            use(conversion)  # type: ignore[operator]
        with pytest.raises(RequestError, match="no signature 'r224'"):
            use(model, signature="r224")  # type: ignore[operator]
    with em.load(model, signature="r64") as loaded:
        assert loaded.inputs == {"image": (1, 64, 64, 3)}


def test_a_file_of_one_has_no_signature_to_name(small_tflite: Path) -> None:
    with pytest.raises(RequestError, match="has no signature 'r96'"):
        em.inspect(small_tflite, signature="r96")


def test_run_takes_the_signature(model: Path, conversion: Conversion, tmp_path: Path) -> None:
    from converters.parity.stimuli import bundled_photograph

    photo, alone = bundled_photograph(), tmp_path / "alone.tflite"
    conversion.parts["r64"].save(alone)
    answers = []
    for arguments in ([model, "--signature", "r64"], [alone]):
        done = CliRunner().invoke(cli, ["run", *map(str, arguments), "--image", str(photo), "--json"])
        answers.append(json.loads(done.stdout))
    assert answers[0] == answers[1] and answers[0]["resolution"] == "64"
    done = CliRunner().invoke(cli, ["run", str(model), "--image", str(photo)])
    assert isinstance(done.exception, RequestError) and "r96, r64, r128" in str(done.exception)


def test_commands_show_every_signature(model: Path, tmp_path: Path) -> None:
    checked = json.loads(CliRunner().invoke(cli, ["verify", str(model), "--json"]).stdout)
    assert checked["passed"] is True and list(checked["signatures"]) == SIGNATURES
    shown = json.loads(CliRunner().invoke(cli, ["inspect", str(model), "--json"]).stdout)
    assert [item["partitions"] for item in shown["signatures"].values()] == [1, 1, 1]
    out = tmp_path / "r.json"
    quick = ["--runs", "2", "--rounds", "2", "--out", str(out)]
    assert CliRunner().invoke(cli, ["bench", str(model), *quick]).exception is None
    assert [(point.name, point.resolution) for point in load(out).points] == [
        (f"model {key}", str(side)) for key, side in zip(SIGNATURES, SIDES)
    ]


@pytest.mark.parametrize(
    ("sides", "message"), [([96, 96], "96 is named twice"), ([32 * side for side in range(1, 18)], "17 resolutions")]
)
def test_lists_that_no_file_can_have(sides: list[int], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        em.convert(SMALL_MODEL, resolution=[*sides])


def test_a_graph_is_kept_of_one_resolution_alone(tmp_path: Path) -> None:
    options = em.ConvertOptions(keep_onnx=tmp_path / "graph.onnx")
    with pytest.raises(RequestError, match="--keep-onnx"):
        em.convert(SMALL_MODEL, options, resolution=[64, 96])


def test_a_file_that_names_a_signature_and_lacks_it_is_refused(conversion: Conversion) -> None:
    tree = Tflite(conversion.content).editable_tree()
    tree.signatureDefs[1].signatureKey = b"other"
    damaged = Tflite(pack(tree))
    with pytest.raises(RequestError, match="names the signature r64"):
        damaged.at("r64")


def test_an_own_module_in_int8_keeps_its_own_scales() -> None:
    """Each resolution is calibrated on its own; the int8 weights are the same, since their scales are their own."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 64, 3, 2, 1), nn.ReLU(), nn.Conv2d(64, 256, 3, 2, 1), nn.ReLU()).eval()
    images = [np.random.default_rng(seed).random((64, 64, 3), np.float32) for seed in range(4)]
    with pytest.raises(RequestError):  # arrays have one size
        em.convert(net, resolution=[32, 64], precision="int8", calibration=images)
    whole = em.convert(net, resolution=[32, 64], precision="dynamic")
    assert all(em.verify(whole, signature=key).passed for key in ("r32", "r64"))
    assert dataclasses.replace(whole.report, signatures={}).resolution == "32, 64"
