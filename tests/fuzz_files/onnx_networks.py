"""Small ONNX networks that together have every part of the format: what the fuzzer changes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

IMAGE = [1, 3, 8, 8]


def _constant(name: str, values: Any, kind: type = np.int64) -> TensorProto:
    return numpy_helper.from_array(np.array(values, kind), name)


def _noise(name: str, *shape: int) -> TensorProto:
    return numpy_helper.from_array(np.random.default_rng(len(name)).standard_normal(shape).astype(np.float32), name)


def _value(name: str, shape: Sequence[int | str] = (), kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def _model(
    nodes: Sequence[NodeProto], constants: Sequence[TensorProto], shape: Sequence[int], opset: int = 18, **more: Any
) -> onnx.ModelProto:
    """``nodes`` from the image x to y of ``shape``."""
    graph = helper.make_graph(nodes, "network", [_value("x", IMAGE)], [_value("y", shape)], constants)
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("own", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8, **more)


def _op(kind: str, inputs: str, outputs: str, **attributes: Any) -> NodeProto:
    return helper.make_node(kind, inputs.split(), outputs.split(), name=f"{kind}_{outputs}", **attributes)


def _convolutions() -> onnx.ModelProto:
    """Convolutions, their transpose, norms, pools, a clamp and a linear layer."""
    nodes = [
        _op("Conv", "x kernel bias", "a", pads=[1, 1, 1, 1], strides=[2, 2], kernel_shape=[3, 3]),
        _op("BatchNormalization", "a one zero zero one", "b", epsilon=1e-3),
        _op("Clip", "b low high", "c"),
        _op("Conv", "c depthwise", "d", group=4, pads=[1, 1, 1, 1], dilations=[1, 1]),
        _op("ConvTranspose", "d transposed", "e", strides=[2, 2], output_padding=[0, 0]),
        _op("MaxPool", "e", "f", kernel_shape=[2, 2], strides=[2, 2]),
        _op("AveragePool", "f", "g", kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1),
        _op("InstanceNormalization", "g one zero", "h"),
        _op("GlobalAveragePool", "h", "i"),
        _op("Flatten", "i", "j", axis=1),
        _op("Gemm", "j linear shift", "y", transB=1, alpha=0.5),
    ]
    constants = [
        _noise("kernel", 4, 3, 3, 3), _noise("bias", 4), _noise("depthwise", 4, 1, 3, 3),
        _noise("transposed", 4, 4, 2, 2),
        _noise("linear", 5, 4), _noise("shift", 5), _constant("one", [1] * 4, np.float32),
        _constant("zero", [0] * 4, np.float32), _constant("low", 0, np.float32), _constant("high", 6, np.float32),
    ]  # fmt: skip
    return _model(nodes, constants, [1, 5])


def _shapes() -> onnx.ModelProto:
    """What moves, cuts and joins: sizes and indices stand in constants, some of them computed."""
    nodes = [
        _op("Shape", "x", "s"),
        _op("Gather", "s where", "n", axis=0),
        _op("Concat", "n rest", "size", axis=0),
        _op("Reshape", "x size", "a"),
        _op("Transpose", "a", "b", perm=[0, 2, 1]),
        _op("Slice", "b start stop axes step", "c"),
        _op("Split", "c", "d e", axis=1, num_outputs=2),
        _op("Concat", "d e", "f", axis=-1),
        _op("Expand", "f wide", "g"),
        _op("Tile", "g times", "h"),
        _op("Unsqueeze", "h where", "i"),
        _op("Pad", "i pads", "j", mode="reflect"),
        helper.make_node("Resize", ["j", "", "scales"], ["k"]),
        _op("Squeeze", "k where", "l"),
        _op("ReduceMax", "l axes", "m", keepdims=1),
        _op("ConstantOfShape", "wide", "o", value=_constant("", [0.5], np.float32)),
        _op("Add", "m o", "p"),
        _op("Range", "from to by", "r"),
        _op("Cast", "r", "t", to=TensorProto.FLOAT),
        _op("ReduceSum", "t", "u", keepdims=0),
        _op("Mul", "p u", "y"),
    ]
    constants = [
        _constant("where", [0]), _constant("rest", [3, -1]), _constant("start", [0]), _constant("stop", [64]),
        _constant("axes", [1]), _constant("step", [2]), _constant("wide", [2, 16, 6]), _constant("times", [1, 1, 1]),
        _constant("pads", [0, 0, 1, 0, 0, 0, 1, 0]), _constant("scales", [1, 1, 1, 1], np.float32),
        _constant("from", 0), _constant("to", 9), _constant("by", 3),
    ]  # fmt: skip
    return _model(nodes, constants, [2, 16, 6])


def _control() -> onnx.ModelProto:
    """If, Loop and Scan, with values of the graph around them."""
    branches = [
        helper.make_graph([_op(kind, "x", name)], name, [], [_value(name, IMAGE)])
        for kind, name in (("Relu", "p"), ("Neg", "q"))
    ]
    body = helper.make_graph(
        [_op("Identity", "go", "on"), _op("Add", "state x", "next")],
        "body",
        [_value("turn", [], TensorProto.INT64), _value("go", [], TensorProto.BOOL), _value("state", IMAGE)],
        [_value("on", [], TensorProto.BOOL), _value("next", IMAGE)],
    )
    row = [1, 8, 8]
    scan = helper.make_graph(
        [_op("Add", "sum item", "more"), _op("Identity", "more", "seen")],
        "scan", [_value("sum", row), _value("item", row)], [_value("more", row), _value("seen", row)],
    )  # fmt: skip
    nodes = [
        _op("If", "true", "a", then_branch=branches[0], else_branch=branches[1]),
        _op("Loop", "turns true a", "b", body=body),
        _op("Scan", "start b", "end y", body=scan, num_scan_inputs=1, scan_input_axes=[1], scan_output_axes=[1]),
    ]
    return _model(nodes, [_constant("true", True, np.bool_), _constant("turns", 3), _noise("start", *row)], IMAGE)


def _attention() -> onnx.ModelProto:
    """Matrix products and a softmax, in functions of the file's own."""
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("own", 1)]
    inner = helper.make_function(
        "own", "scaled", ["q", "k"], ["s"],
        [_op("Transpose", "k", "kt", perm=[0, 2, 1]), _op("MatMul", "q kt", "m"), _op("Softmax", "m", "s", axis=-1)],
        opsets,
    )  # fmt: skip
    outer = helper.make_function(
        "own", "attend", ["v"], ["w"],
        [helper.make_node("scaled", ["v", "v"], ["s"], domain="own"), _op("MatMul", "s v", "w")], opsets,
    )  # fmt: skip
    nodes = [
        _op("Reshape", "x tokens", "a"),
        _op("LayerNormalization", "a scale shift", "b", axis=-1),
        helper.make_node("attend", ["b"], ["c"], domain="own"),
        _op("Einsum", "c b", "d", equation="bnc,bnd->bcd"),
        _op("Erf", "d", "y"),
    ]
    constants = [_constant("tokens", [1, 12, 16]), _noise("scale", 16), _noise("shift", 16)]
    return _model(nodes, constants, [1, 16, 16], functions=[inner, outer])


def _quantised() -> onnx.ModelProto:
    """Integers: quantised convolution and product, comparisons and choices."""
    nodes = [
        _op("QuantizeLinear", "x s z", "a"),
        _op("QLinearConv", "a s z kernel ks kz s z", "b", pads=[1, 1, 1, 1]),
        _op("DequantizeLinear", "b s z", "c"),
        _op("DynamicQuantizeLinear", "c", "d ds dz"),
        _op("ConvInteger", "d kernel2 dz", "e"),
        _op("Cast", "e", "f", to=TensorProto.FLOAT),
        _op("Mul", "f ds", "g"),
        _op("Greater", "g half", "h"),
        _op("Where", "h g half", "i"),
        _op("ArgMax", "i", "j", axis=1, keepdims=1),
        _op("Mod", "j three", "k"),
        _op("Div", "k three", "l"),
        _op("OneHot", "l depth values", "m", axis=1),
        _op("GatherElements", "i j", "n", axis=1),
        _op("TopK", "n one", "o p", axis=3),
        _op("CumSum", "o axis", "q"),
        _op("Cast", "q", "y", to=TensorProto.FLOAT),
    ]
    kernel = np.ones((4, 3, 3, 3))
    constants = [
        _constant("s", 0.1, np.float32), _constant("z", 3, np.uint8), _constant("kernel", kernel, np.uint8),
        _constant("ks", 0.2, np.float32), _constant("kz", 0, np.uint8),
        _constant("kernel2", np.ones((2, 4, 1, 1)), np.uint8),
        _constant("half", 0.5, np.float32), _constant("three", 3), _constant("depth", 4), _constant("axis", 3),
        _constant("values", [0, 1], np.float32), _constant("one", [1]),
    ]  # fmt: skip
    return _model(nodes, constants, [1, 1, 8, 1])


def networks() -> list[onnx.ModelProto]:
    """All of them, sound."""
    return [_convolutions(), _shapes(), _control(), _attention(), _quantised()]
