"""ONNX files as sources: free sizes, several inputs, half precision, and files that are refused before a dependency
reads them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from converters.onnx_session import open_session
from converters.source.onnx_file import read_onnx
from evit_mobile.errors import RequestError

Size = int | str


def value(name: str, shape: list[Size], kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def weights(dtype: type = np.float32) -> onnx.TensorProto:
    return numpy_helper.from_array(np.random.default_rng(0).standard_normal((4, 3, 3, 3)).astype(dtype), "w")


def network(batch: Size = 1, kind: int = TensorProto.FLOAT, side: Size = 8) -> onnx.ModelProto:
    """One convolution of x [batch, 3, side, side] without padding."""
    out: Size = side - 2 if isinstance(side, int) else "out"
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["y"])], "g",
        [value("x", [batch, 3, side, side], kind)], [value("y", [batch, 4, out, out], kind)],
        [weights(helper.tensor_dtype_to_np_dtype(kind).type)],
    )  # fmt: skip
    opset = 22 if kind == TensorProto.BFLOAT16 else 17  # the first that convolves it
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def saved(model: onnx.ModelProto, folder: Path) -> Path:
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def shape_of(value: onnx.ValueInfoProto) -> list[int]:
    return [dim.dim_value for dim in value.type.tensor_type.shape.dim]


def test_a_free_batch_becomes_one(tmp_path: Path) -> None:
    model = read_onnx(saved(network("N"), tmp_path), {})
    assert shape_of(model.graph.input[0]) == [1, 3, 8, 8]


def test_free_sizes_are_given(tmp_path: Path) -> None:
    path = saved(network("N", side="H"), tmp_path)
    model = read_onnx(path, {"x": (2, 3, 10, 12)})
    image = np.ones((2, 3, 10, 12), np.float32)
    assert open_session(model)({"x": image})["y"].shape == (2, 4, 8, 10)
    with pytest.raises(RequestError, match=r"free sizes: \?x3x\?x\?.*--input-shape x:1x3x224x224"):
        read_onnx(path, {})
    with pytest.raises(RequestError, match="not 1x4x8x8"):
        read_onnx(path, {"x": (1, 4, 8, 8)})
    with pytest.raises(RequestError, match="no input 'image'.*: x"):
        read_onnx(path, {"image": (1, 3, 8, 8)})


@pytest.mark.parametrize("kind", [TensorProto.FLOAT16, TensorProto.BFLOAT16])
def test_half_precision_is_widened(kind: int, tmp_path: Path) -> None:
    image = np.random.default_rng(1).standard_normal((1, 3, 8, 8)).astype(np.float32)
    source = read_onnx(saved(network(kind=kind), tmp_path), {})
    assert source.graph.initializer[0].data_type == TensorProto.FLOAT
    single = network()
    single.graph.initializer[0].CopyFrom(
        numpy_helper.from_array(numpy_helper.to_array(network(kind=kind).graph.initializer[0]).astype(np.float32), "w")
    )
    np.testing.assert_array_equal(open_session(source)({"x": image})["y"], open_session(single)({"x": image})["y"])


def _attribute(name: str, number: int | list[int]) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        model.graph.node[0].attribute.append(helper.make_attribute(name, number))

    return change


def _without(field: str) -> Callable[[onnx.ModelProto], None]:
    return lambda model: model.graph.ClearField(field)


def _opset(version: int) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        model.opset_import[0].version = version

    return change


def _domain(model: onnx.ModelProto) -> None:
    model.graph.node[0].domain = "com.example"
    model.opset_import.append(helper.make_opsetid("com.example", 1))


def _wrong_weights(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.zeros((4, 5, 3, 3), np.float32), "w"))


def _huge(op_type: str, numbers: list[list[int]]) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        names = [f"c{index}" for index in range(len(numbers))]
        for name, content in zip(names, numbers):
            array = np.array(content if len(content) > 1 else content[0], np.int64)
            model.graph.initializer.append(numpy_helper.from_array(array, name))
        model.graph.node.append(helper.make_node(op_type, [*(["y"] if len(names) == 1 else []), *names], ["big"]))

    return change


def _strings(model: onnx.ModelProto) -> None:
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.STRING


def _eight_bits(model: onnx.ModelProto) -> None:
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.FLOAT8E5M2


def _training(ratio: float) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        model.graph.node[0].output[0] = "convolved"
        constants = {"ratio": np.array(ratio, np.float32), "training": np.array(True)}
        model.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in constants.items())
        model.graph.node.append(helper.make_node("Dropout", ["convolved", *constants], ["y"]))

    return change


def _noisy(model: onnx.ModelProto) -> None:
    model.graph.node[0].output[0] = "convolved"
    model.graph.node.append(helper.make_node("RandomNormalLike", ["convolved"], ["noise"]))
    model.graph.node.append(helper.make_node("Add", ["convolved", "noise"], ["y"]))


def _external(offset: str) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        tensor = model.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, text in (("location", "weights.bin"), ("offset", offset), ("length", "432")):
            entry = tensor.external_data.add()
            entry.key, entry.value = key, text

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_attribute("strides", [0, 1]), "strides"),
        (_attribute("group", 0), "group 0"),
        (_attribute("group", -1), "group -1"),
        (_attribute("dilations", [1, 0]), "dilations"),
        (_attribute("pads", [2**30] * 4), "pads"),
        (_without("node"), "no nodes"),
        (_without("output"), "no outputs"),
        (_opset(99), "opset 99"),
        (_opset(0), "opset 0"),
        (_domain, "com.example"),
        (_wrong_weights, "contradicts itself"),
        (_huge("Reshape", [[10**6, 10**6]]), "1e[+]12 elements"),
        (_huge("Expand", [[10**6, 10**6]]), "1e[+]12 elements"),
        (_huge("Range", [[0], [10**12], [1]]), "1e[+]12 elements"),
        (_huge("Range", [[0], [9], [0]]), "inf elements"),
        (_strings, "not a tensor of numbers"),
        (_eight_bits, "is float8e5m2, which TFLite"),
        (_noisy, "RandomNormalLike noise of .* draws random numbers"),
        (_training(0.5), "Dropout y of .* drops values at random"),
        (_external("-7"), "offset"),
        (_external("9" * 30), "offset"),
    ],
)  # fmt: skip
def test_refused(tmp_path: Path, change: Callable[[onnx.ModelProto], None], message: str) -> None:
    model = network()
    change(model)
    with pytest.raises(RequestError, match=message) as caught:
        read_onnx(saved(model, tmp_path), {})
    assert caught.value.exit_code == 2 and "\n" not in str(caught.value)


def test_a_dropout_of_nothing_is_no_randomness(tmp_path: Path) -> None:
    model = network()
    _training(0.0)(model)
    assert read_onnx(saved(model, tmp_path), {}).graph.node[1].op_type == "Dropout"


def test_an_operator_that_onnx_runtime_has_not_is_no_contradiction(tmp_path: Path) -> None:
    """Of RoiAlign it has the form of opset 16; that of opset 22 came with onnx 1.17."""
    model = network()
    boxes = numpy_helper.from_array(np.array([[0, 0, 4, 4]], np.float32), "boxes")
    model.graph.initializer.extend([boxes, numpy_helper.from_array(np.zeros(1, np.int64), "images")])
    model.graph.node.append(helper.make_node("RoiAlign", ["y", "boxes", "images"], ["crop"]))
    model.graph.output.append(value("crop", [1, 4, 1, 1]))
    model.opset_import[0].version, model.ir_version = 22, 10
    with pytest.raises(RequestError, match="ONNX Runtime cannot run .*RoiAlign"):
        read_onnx(saved(model, tmp_path), {})


def test_double_precision_is_refused_for_its_type(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="input x of .* is double"):
        read_onnx(saved(network(kind=TensorProto.DOUBLE), tmp_path), {})
