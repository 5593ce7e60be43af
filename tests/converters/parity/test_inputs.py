"""verify of networks whose inputs are not one image: several, tokens, indices, masks, batches, NHWC."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

import evit_mobile as em
from converters.options import ConvertOptions
from converters.parity.reference import SourceRequest
from converters.parity.stimuli import bundled_photograph, graph_stimuli
from converters.parity.verify import verify_model
from converters.pipeline import convert
from converters.source.inputs import InputRequest
from converters.source.load import load_source
from converters.source.torch_export import Exporter
from evit_mobile.errors import RequestError
from evit_mobile.specs import Precision

#: So many rows has the table that ``indices`` point into.
ROWS = 10


@pytest.fixture(scope="module")
def many_inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ONNX file of an image, a map, tokens, indices and a mask; an input that nothing reads stands in front."""
    generator = np.random.default_rng(0)

    def constant(name: str, *shape: int) -> onnx.TensorProto:
        return numpy_helper.from_array(generator.standard_normal(shape).astype(np.float32), name)

    def value(name: str, shape: list[int], kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, kind, shape)

    nodes = [
        helper.make_node("Conv", ["image", "filter"], ["conv"], pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("Add", ["conv", "map"], ["features"]),
        helper.make_node("Gather", ["table", "indices"], ["embedded"]),
        helper.make_node("Add", ["embedded", "tokens"], ["sum"]),
        helper.make_node("Where", ["mask", "sum", "tokens"], ["mixed"]),
    ]
    inputs = [
        value("unread", [1, 3]), value("image", [1, 3, 16, 24]), value("map", [1, 8, 8, 12]),
        value("tokens", [1, 5, 7]), value("indices", [1, 5], TensorProto.INT64),
        value("mask", [1, 5, 7], TensorProto.BOOL),
    ]  # fmt: skip
    outputs = [value("features", [1, 8, 8, 12]), value("mixed", [1, 5, 7])]
    graph = helper.make_graph(nodes, "g", inputs, outputs, [constant("filter", 8, 3, 3, 3), constant("table", ROWS, 7)])
    path = tmp_path_factory.mktemp("inputs") / "many.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def test_stimuli_have_every_input_by_its_type(many_inputs: Path) -> None:
    source = load_source(str(many_inputs))
    stimuli = {item.name: item.inputs for item in graph_stimuli(source, onnx.load(many_inputs))}
    assert list(stimuli) == ["noise", "zeros", "ones", "black", "white", "hot_pixel", "photograph"]
    noise = stimuli["noise"]
    assert noise["image"].shape == (1, 3, 16, 24) and noise["tokens"].shape == (1, 5, 7)
    assert noise["indices"].dtype == np.int64 and 0 < noise["indices"].max() < ROWS and noise["indices"].min() >= 0
    assert noise["mask"].dtype == np.bool_ and 0 < noise["mask"].sum() < noise["mask"].size
    # Beside a picture stands noise; ImageNet's white in red is (1 - 0.485) / 0.229.
    np.testing.assert_array_equal(stimuli["white"]["tokens"], noise["tokens"])
    assert stimuli["white"]["image"][0, 0].min() == pytest.approx(2.2489, abs=1e-4)
    assert not any(value.any() for value in stimuli["zeros"].values())


def test_an_onnx_file_with_many_inputs(many_inputs: Path, tmp_path: Path) -> None:
    """Oracle: ONNX Runtime. The file takes the inputs of the ONNX file, in its order; layers are compared as well."""
    model = tmp_path / "many.tflite"
    convert(str(many_inputs), model)
    report = verify_model(model, SourceRequest(str(many_inputs)), image=bundled_photograph(), layers=True)
    assert report.passed, report.worst()
    assert {row.output for row in report.rows} == {"features", "mixed"} and report.reference == "onnxruntime"
    assert report.layers is not None and report.layers.parted is None
    with em.load(model) as loaded:
        shapes = loaded.inputs
    assert list(shapes) == ["unread", "image", "map", "tokens", "indices", "mask"] and shapes["image"] == (1, 16, 24, 3)


def test_a_source_with_other_inputs_is_refused(
    many_inputs: Path, small_tflite: Path, without_entry: Callable[[Path], Path]
) -> None:
    with pytest.raises(RequestError, match="takes 1 input, its source 6"):
        verify_model(without_entry(small_tflite), SourceRequest(str(many_inputs)))


def test_int8_of_it_is_refused_before_it_is_lowered(many_inputs: Path, tmp_path: Path) -> None:
    options = ConvertOptions(precision=Precision.INT8, calibration=str(tmp_path))
    with pytest.raises(RequestError, match="calibration data are images, and it takes 6 inputs"):
        convert(str(many_inputs), tmp_path / "int8.tflite", options)
    assert not (tmp_path / "int8.tflite").exists()


class ImageAndVector(nn.Module):
    """``vector`` shifts the channels of a convolution; ``unread`` is not used."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.shift = nn.Conv2d(3, 8, 3, 2, 1), nn.Linear(5, 8)

    def forward(self, image: Tensor, unread: Tensor, vector: Tensor) -> Tensor:
        return torch.relu(self.conv(image) + self.shift(vector)[:, :, None, None])


@pytest.mark.parametrize("exporter", ["torchscript", "dynamo"])
def test_a_module_of_an_image_and_vectors(exporter: str) -> None:
    """Oracle: PyTorch. An argument that the exporters drop is an input all the same."""
    module = ImageAndVector().eval()
    examples = {"image": torch.zeros(2, 3, 16, 24), "unread": torch.zeros(1, 2), "vector": torch.zeros(2, 5)}
    options = ConvertOptions(inputs=InputRequest(exporter=Exporter(exporter)))
    conversion = em.convert(module, options, example_inputs=examples)
    report = em.verify(conversion, layers=True)
    assert report.passed, report.worst()
    assert report.reference == "pytorch" and report.resolution == "16x24"
    assert report.layers is not None and report.layers.parted is None
    generator = np.random.default_rng(0)
    image, unread, vector = (generator.standard_normal(tuple(item.shape), np.float32) for item in examples.values())
    with em.load(conversion) as loaded:
        assert list(loaded.inputs) == list(examples)
        (value,) = loaded(np.moveaxis(image, 1, -1), unread, vector).values()
    expected = module(*map(torch.from_numpy, (image, unread, vector))).detach().numpy()
    # 1e-4 of the largest value: what verify allows a float32 file.
    np.testing.assert_allclose(np.moveaxis(value, -1, 1), expected, rtol=0, atol=1e-4 * np.abs(expected).max())


def test_an_image_in_nhwc(tmp_path: Path) -> None:
    """What TensorFlow's exporters write: the channels are last in the ONNX file already, and are seen as such."""
    filters = np.random.default_rng(0).standard_normal((8, 3, 3, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Transpose", ["x"], ["planar"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["planar", "filter"], ["conv"], pads=[1, 1, 1, 1]),
        helper.make_node("Transpose", ["conv"], ["y"], perm=[0, 2, 3, 1]),
    ]
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 12, 16, channels])
        for name, channels in (("x", 3), ("y", 8))
    ]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], [numpy_helper.from_array(filters, "filter")])
    path = tmp_path / "nhwc.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    convert(str(path), tmp_path / "nhwc.tflite")
    report = verify_model(tmp_path / "nhwc.tflite", SourceRequest(str(path)))
    assert report.passed and "photograph" in report.inputs and report.resolution == "12x16"
