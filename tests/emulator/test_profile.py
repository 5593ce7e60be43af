"""Cutting a model, and the instructions of its layers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from android_bench.emulator.profile import beginning, find_cuts, profile
from android_bench.emulator.qemu import Qemu
from evit_mobile.cli.emulator import command
from evit_mobile.errors import RequestError
from evit_mobile.results.draw.stacked import stacked_bar
from evit_mobile.runtimes import RUNTIMES
from evit_mobile.tflite.flatbuffer import unpack


def test_beginning_gives_the_tensor_that_the_whole_model_has_there(small_tflite: Path, tmp_path: Path) -> None:
    """Oracle: LiteRT on this machine. The last beginning is the whole model."""
    content = small_tflite.read_bytes()
    cuts = find_cuts(unpack(content))
    image = np.random.default_rng(0).standard_normal((1, 96, 96, 3), np.float32)
    with RUNTIMES["litert"].open(small_tflite) as session:
        shapes = {info.index: info.shape for info in session.tensors()}
        [whole] = session.run([image])
        assert cuts[-1].tensor == session.outputs[0].index
    assert len(cuts) > 20  # a stem, 22 blocks, a head
    for cut in (cuts[0], cuts[len(cuts) // 2], cuts[-1]):
        shortened = tmp_path / "beginning.tflite"
        shortened.write_bytes(beginning(content, cut))
        with RUNTIMES["litert"].open(shortened) as session:
            [output] = session.run([image])
        assert output.shape == shapes[cut.tensor]
    np.testing.assert_array_equal(output, whole)


def test_no_model_is_refused(a76: Qemu, tmp_path: Path) -> None:
    model = tmp_path / "model.tflite"
    model.write_bytes(b"no model")
    with pytest.raises(RequestError, match="is not a .tflite"):
        profile(a76, model)
    absent = CliRunner().invoke(command, ["profile", str(tmp_path / "absent.tflite")])
    assert isinstance(absent.exception, RequestError)


@pytest.mark.slow
def test_layers_add_up_to_the_model(a76: Qemu, small_tflite: Path, tmp_path: Path) -> None:
    plot = tmp_path / "plot.svg"
    result = CliRunner().invoke(command, ["profile", str(small_tflite), "--json", "--plot", str(plot)])
    assert result.exception is None
    document = json.loads(result.stdout)
    counted = a76.count(small_tflite, 2)[-1]
    # The last beginning differs from the model in its signature alone, which costs a few instructions to look up.
    assert document["instructions"] == pytest.approx(counted, rel=1e-3)
    ends = [layer["last"] for layer in document["layers"]]
    assert ends == sorted(ends) and [layer["first"] for layer in document["layers"]] == [
        0,
        *(end + 1 for end in ends[:-1]),
    ]
    assert any(layer["name"].endswith("stages.2.1") for layer in document["layers"])
    assert "</svg>" in plot.read_text()


def test_bar_names_its_large_parts() -> None:
    drawn = stacked_bar([("stem", 1.0), ("body", 98.0), ("fused", -1.0), ("tail", 0.5)], "a title", "M")
    assert "body" in drawn and "98.5%" in drawn and "a title" in drawn and "tail" not in drawn
