"""ONNX files that are quantised already. Oracle: ONNX Runtime, which quantises them and runs them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnxruntime.quantization import QuantFormat
from torch import Tensor, nn

import evit_mobile as em
from benchmarks.accuracy import digits
from benchmarks.accuracy.outputs import answers
from converters.options import ConvertOptions
from converters.parity.reference import SourceRequest
from converters.parity.verify import verify_model
from converters.pipeline import convert
from converters.quantize.qdq import take_apart
from converters.quantize.weights import integer_weights, quantise_weights
from converters.source.export import export_onnx
from converters.source.load import load_source, module_source
from converters.tflite.inspection import inspect_model
from evit_mobile.arrays import Array, Float32Array
from evit_mobile.cli.main import main
from evit_mobile.errors import ClaimError, RequestError
from evit_mobile.runtimes.litert import LITERT
from evit_mobile.specs import Precision, Resolution
from evit_mobile.tflite.graph import read_graph
from tests.kits.graphs import Attention, Shape
from tests.kits.quantised import quantised

WEIGHTS = Path(__file__).resolve().parents[2] / "data" / "digits-pair.safetensors"
SIDE = Resolution(32, 32)


class Block(nn.Module):
    """What quantisers treat each in its own way: a ReLU that they leave out, a hard-swish in float, a sum, a pooling, a
    linear layer.
    """

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.deep = nn.Conv2d(3, 16, 3, 2, 1), nn.Conv2d(16, 16, 3, 1, 1, groups=16)
        self.point, self.head = nn.Conv2d(16, 16, 1), nn.Linear(16, 10)

    def forward(self, image: Tensor) -> Tensor:
        features = nn.functional.relu(self.stem(image))
        features = features + self.point(nn.functional.hardswish(self.deep(features)))
        answers: Tensor = self.head(nn.functional.max_pool2d(features, 2).mean((2, 3)))
        return answers


def noise(count: int, seed: int = 0, side: int = 32) -> list[Float32Array]:
    return list(np.random.default_rng(seed).standard_normal((count, 1, 3, side, side), np.float32))


def stock(module: nn.Module) -> onnx.ModelProto:
    return export_onnx(module_source(module.eval(), SIDE))


def in_onnxruntime(path: Path, images: list[Float32Array]) -> Array:
    options = onnxruntime.SessionOptions()
    # Without it, sums of products saturate in 16 bits on processors that have AVX2 and no VNNI.
    options.add_session_config_entry("session.x64quantprecision", "1")
    session = onnxruntime.InferenceSession(str(path), options)
    name = session.get_inputs()[0].name
    return np.concatenate([session.run(None, {name: image})[0] for image in images])


def in_litert(path: Path, images: list[Float32Array]) -> Array:
    return answers(path, (np.ascontiguousarray(image.transpose(0, 2, 3, 1)) for image in images))


@pytest.mark.parametrize("unsigned", [False, True])
def test_the_file_has_the_scales_and_weights_of_its_source(tmp_path: Path, unsigned: bool) -> None:
    """Outputs are one rounding step apart at most: five layers, each of which can be off by less than one."""
    source = quantised(stock(Block()), tmp_path / "block.onnx", noise(16), unsigned=unsigned)
    report = convert(str(source), tmp_path / "block.tflite")
    assert report.precision is Precision.INT8
    graph, taken = read_graph(tmp_path / "block.tflite"), take_apart(onnx.load(source), "block")
    assert taken is not None
    scales = {(np.float32(item.scale), item.zero_point) for item in taken.encodings.values()}
    activations = [item for item in graph.tensors if item.dtype == "int8" and not item.constant]
    assert {(np.float32(item.scale[0]), item.zero_point[0]) for item in activations} <= scales
    integers = {
        np.sort(onnx.numpy_helper.to_array(item), None).tobytes() for item in onnx.load(source).graph.initializer
    }
    constants = [item.values() for item in graph.tensors if item.dtype == "int8" and item.constant]
    assert len(constants) == 4
    assert all(values is not None and np.sort(values, None).tobytes() in integers for values in constants)
    inspection = inspect_model(tmp_path / "block.tflite", LITERT, explain=False)
    assert (inspection.partitions, len(inspection.undelegated)) == (1, 0)
    images = noise(16, seed=1)
    step = float(graph.tensors[graph.ops[-1].inputs[0]].scale[0])
    apart = np.abs(in_litert(tmp_path / "block.tflite", images) - in_onnxruntime(source, images)) / step
    assert apart.max() < 1.01


def test_a_trained_network_answers_as_in_onnxruntime(tmp_path: Path) -> None:
    """Its attention is left in float, as the guide has it. All 2000 answers are the same where this was written."""
    source = load_source("digits-pair", weights=WEIGHTS)
    images = [image.transpose(0, 3, 1, 2) for image in digits.calibration()]
    path = quantised(export_onnx(source), tmp_path / "digits.onnx", images, op_types_to_quantize=["Conv", "Gemm"])
    file = tmp_path / "digits.tflite"
    convert(str(path), file)
    inspection = inspect_model(file, LITERT, explain=False)
    assert (inspection.partitions, len(inspection.undelegated)) == (1, 0)
    assert verify_model(file, SourceRequest(str(path))).passed
    canvases = [image[np.newaxis].transpose(0, 3, 1, 2) for image in digits.inputs(list(digits.test_canvases()))]
    agreeing = in_litert(file, canvases).argmax(1) == in_onnxruntime(path, canvases).argmax(1)
    assert agreeing.mean() >= 0.998


def test_a_quantised_attention_is_told_and_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its divisors stay float, which ONNX Runtime rounds; without its sums and products there is nothing to tell."""
    torch.manual_seed(0)
    model = stock(nn.Sequential(nn.Conv2d(3, 8, 3, 4, 1), Attention(Shape(height=8, length=8))))
    source, file = quantised(model, tmp_path / "all.onnx", noise(8)), tmp_path / "all.tflite"
    with pytest.raises(ClaimError, match="op_types_to_quantize"):
        convert(str(source), file)
    warnings = convert(str(source), file, ConvertOptions(check=False)).warnings
    assert any("rounds 2 divisors" in warning and "op_types_to_quantize" in warning for warning in warnings)
    with pytest.raises(SystemExit):
        main(["verify", str(file), "--model", str(source)])
    assert "op_types_to_quantize" in capsys.readouterr().err
    layers = quantised(model, tmp_path / "layers.onnx", noise(8), op_types_to_quantize=["Conv", "Gemm"])
    assert not any("divisors" in warning for warning in convert(str(layers), tmp_path / "layers.tflite").warnings)


class Rounded(nn.Module):
    """A convolution trained with rounding: its input, its weights and its result in steps of 8 bits."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 8, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        image = torch.fake_quantize_per_tensor_affine(image, 0.03, 0, -128, 127)
        scales, zeros = torch.full((8,), 0.002), torch.zeros(8, dtype=torch.int32)
        weights = torch.fake_quantize_per_channel_affine(self.conv.weight, scales, zeros, 0, -128, 127)
        result = nn.functional.conv2d(image, weights, self.conv.bias, padding=1)
        return torch.fake_quantize_per_tensor_affine(result, 0.02, 0, -128, 127)


def test_a_module_that_rounds_is_quantised_as_it_is() -> None:
    module = Rounded().eval()
    result = em.convert(module, resolution=SIDE)
    assert result.report.precision is Precision.INT8 and em.verify(result).passed
    (image,) = noise(1)
    actual = em.load(result)(image.transpose(0, 2, 3, 1))["output"]
    expected = module(torch.from_numpy(image)).detach().permute(0, 2, 3, 1).numpy()
    # A sum of products between two steps may go to either.
    assert np.abs(actual - expected).max() < 0.0201 and (np.abs(actual - expected) > 1e-5).mean() < 0.01


def test_what_is_not_rounded_stays_float(tmp_path: Path) -> None:
    """A convolution that the user left out: float, and exact between its neighbours' roundings."""
    model = stock(Block())
    (left,) = [node.name for node in model.graph.node if node.name.endswith("deep/Conv")]
    source = quantised(model, tmp_path / "block.onnx", noise(8), nodes_to_exclude=[left])
    convert(str(source), tmp_path / "block.tflite")
    graph = read_graph(tmp_path / "block.tflite")
    (deep,) = [op for op in graph.ops if op.type == "DEPTHWISE_CONV_2D"]
    assert graph.tensors[deep.inputs[1]].dtype == "float32"
    assert inspect_model(tmp_path / "block.tflite", LITERT, explain=False).partitions == 1
    images = noise(4, seed=1)
    step = float(graph.tensors[graph.ops[-1].inputs[0]].scale[0])
    apart = np.abs(in_litert(tmp_path / "block.tflite", images) - in_onnxruntime(source, images)) / step
    assert apart.max() < 1.01


def test_other_files_are_left_as_they_are(tmp_path: Path) -> None:
    """A float graph, and one of ops on integers."""
    model = stock(Block())
    assert take_apart(model, "float") is None
    path = quantised(model, tmp_path / "ops.onnx", noise(8), quant_format=QuantFormat.QOperator)
    assert take_apart(onnx.load(path), "integers") is None


@pytest.fixture(scope="module")
def block(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return quantised(stock(Block()), tmp_path_factory.mktemp("block") / "block.onnx", noise(8))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--precision", "fp16"], "is quantised already, to int8: it cannot be made fp16 (leave out --precision)"),
        (["--precision", "int8", "--calibration", "."], "brings its own scales"),
        (["--calibration", "."], "brings its own scales"),
    ],
)
def test_requests_that_contradict_the_file(
    block: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["convert", "--model", str(block), "--out", str(tmp_path / "block.tflite"), *options])
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert message in error and len([line for line in error.splitlines() if line.startswith("error:")]) == 1
    assert not (tmp_path / "block.tflite").exists()


Damage = Callable[[onnx.ModelProto], None]


def _zero_scale(model: onnx.ModelProto) -> None:
    _scale(model, np.float32(0))


def _many_scales(model: onnx.ModelProto) -> None:
    _scale(model, np.full(3, 0.1, np.float32))


def _sixteen_bits(model: onnx.ModelProto) -> None:
    name = next(node for node in model.graph.node if node.op_type == "QuantizeLinear").input[2]
    (tensor,) = [item for item in model.graph.initializer if item.name == name]
    tensor.CopyFrom(onnx.numpy_helper.from_array(np.array(0, np.uint16), name))


def _scale(model: onnx.ModelProto, values: Array | np.float32) -> None:
    name = next(node for node in model.graph.node if node.op_type == "QuantizeLinear").input[1]
    (tensor,) = [item for item in model.graph.initializer if item.name == name]
    tensor.CopyFrom(onnx.numpy_helper.from_array(np.asarray(values), name))


def _other_scale(model: onnx.ModelProto) -> None:
    first = next(node for node in model.graph.node if node.op_type == "QuantizeLinear")
    (tensor,) = [item for item in model.graph.initializer if item.name == first.input[1]]
    model.graph.initializer.append(onnx.numpy_helper.from_array(2 * onnx.numpy_helper.to_array(tensor), "doubled"))
    first.input[1] = "doubled"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_zero_scale, "has the scale 0"),
        (_many_scales, "has 3 scales"),
        (_other_scale, "has another scale than"),
        (_sixteen_bits, "rounds to uint16"),
    ],
)
def test_scales_that_cannot_be_taken(block: Path, damage: Damage, message: str) -> None:
    model = onnx.load(block)
    damage(model)
    with pytest.raises(RequestError, match=message):
        take_apart(model, "block")


def test_integer_weights_are_found_by_their_values() -> None:
    generator = np.random.default_rng(0)
    integers = generator.integers(-128, 127, (8, 3, 3, 4)).astype(np.float32)
    integers[3], integers[5] = 0, np.clip(integers[5], -20, 20)
    scales = generator.uniform(0.001, 0.1, (8, 1, 1, 1)).astype(np.float32)
    found = integer_weights(integers * scales, "CONV_2D")
    assert found is not None
    np.testing.assert_allclose(found.dequantised(), integers * scales, rtol=1e-6)
    weights = generator.standard_normal((8, 3, 3, 4)).astype(np.float32)
    assert integer_weights(weights, "CONV_2D") is None
    again = integer_weights(quantise_weights(weights, "CONV_2D").dequantised().astype(np.float32), "CONV_2D")
    assert again is not None and np.array_equal(again.values, quantise_weights(weights, "CONV_2D").values)
