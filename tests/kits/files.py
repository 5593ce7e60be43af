""".tflite files written field by field, without a converter."""

from __future__ import annotations

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from evit_mobile.tflite.flatbuffer import pack, unpack


def tensor(name: str, shape: list[int], buffer: int = 0, kind: int = schema.TensorType.FLOAT32) -> Any:
    made = schema.TensorT()
    made.name, made.shape, made.buffer, made.type = name, shape, buffer, kind
    return made


def op_of(model: Any, kind: str, inputs: list[int], output: int, **options: Any) -> Any:
    """An op with a code of its own; ``options`` are those of its builtin options."""
    code, op = schema.OperatorCodeT(), schema.OperatorT()
    code.builtinCode = code.deprecatedBuiltinCode = getattr(schema.BuiltinOperator, kind)
    code.version = 1
    model.operatorCodes.append(code)
    op.opcodeIndex, op.inputs, op.outputs = len(model.operatorCodes) - 1, inputs, [output]
    name = {
        "CONV_2D": "Conv2DOptions",
        "AVERAGE_POOL_2D": "Pool2DOptions",
        "RESHAPE": "ReshapeOptions",
        "FULLY_CONNECTED": "FullyConnectedOptions",
        "ADD": "AddOptions",
        "SOFTMAX": "SoftmaxOptions",
        "RESIZE_BILINEAR": "ResizeBilinearOptions",
    }[kind]
    op.builtinOptionsType = getattr(schema.BuiltinOptions, name)
    op.builtinOptions = getattr(schema, f"{name}T")()
    for field, value in options.items():
        setattr(op.builtinOptions, field, value)
    return op


def _with(constants: list[np.ndarray]) -> tuple[Any, Any]:
    """A model of one graph without ops; buffer N + 1 holds constant N."""
    model, graph = schema.ModelT(), schema.SubGraphT()
    model.version, model.operatorCodes, model.subgraphs, model.buffers = 3, [], [graph], [schema.BufferT()]
    for values in constants:
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(values.tobytes(), np.uint8)
        model.buffers.append(buffer)
    return model, graph


def resized(side: int) -> Any:
    """A map of 8x8 that is resized to ``side`` x ``side``, which it declares as 8x8 again, and goes through softmax."""
    model, graph = _with([np.array([side, side], np.int32)])
    size = tensor("size", [2], 1, schema.TensorType.INT32)
    graph.tensors = [size, *(tensor(name, [1, 8, 8, 4]) for name in ("image", "map", "scores"))]
    graph.inputs, graph.outputs = [1], [3]
    graph.operators = [op_of(model, "RESIZE_BILINEAR", [1, 0], 2), op_of(model, "SOFTMAX", [2], 3, beta=1.0)]
    return unpack(pack(model))


def small_network() -> Any:
    """Convolution, pooling, a linear layer, a residual and a softmax, with weights."""
    rng = np.random.default_rng(0)
    weights = [rng.standard_normal(size).astype(np.float32) for size in (108, 4, 16, 4)]
    model, graph = _with([*weights, np.array([1, 4], np.int32)])
    graph.tensors = [
        tensor("image", [1, 8, 8, 3]),
        tensor("weights", [4, 3, 3, 3], 1),
        tensor("bias", [4], 2),
        tensor("map", [1, 8, 8, 4]),
        tensor("pooled", [1, 1, 1, 4]),
        tensor("size", [2], 5, schema.TensorType.INT32),
        tensor("flat", [1, 4]),
        tensor("linear", [4, 4], 3),
        tensor("shift", [4], 4),
        tensor("mixed", [1, 4]),
        tensor("sum", [1, 4]),
        tensor("scores", [1, 4]),
    ]
    graph.inputs, graph.outputs = [0], [11]
    graph.operators = [
        op_of(model, "CONV_2D", [0, 1, 2], 3, strideW=1, strideH=1, fusedActivationFunction=1),
        op_of(model, "AVERAGE_POOL_2D", [3], 4, strideW=8, strideH=8, filterWidth=8, filterHeight=8, padding=1),
        op_of(model, "RESHAPE", [4, 5], 6, newShape=[1, 4]),
        op_of(model, "FULLY_CONNECTED", [6, 7, 8], 9),
        op_of(model, "ADD", [9, 6], 10),
        op_of(model, "SOFTMAX", [10], 11, beta=1.0),
    ]
    return unpack(pack(model))
