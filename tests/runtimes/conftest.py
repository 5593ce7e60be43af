"""The smallest models: written field by field, so that a test knows all that is in them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import flatbuffers
import pytest
from ai_edge_litert import schema_py_generated as schema


def _tensor(name: str, shape: list[int]) -> Any:
    tensor = schema.TensorT()
    tensor.name, tensor.shape, tensor.type, tensor.buffer = name.encode(), shape, schema.TensorType.FLOAT32, 0
    return tensor


def _write(
    path: Path, op: str, version: int, operators: list[Any], tensors: list[Any], inputs: list[int], outputs: list[int]
) -> Path:
    code = schema.OperatorCodeT()
    code.builtinCode = getattr(schema.BuiltinOperator, op)
    code.deprecatedBuiltinCode, code.version = min(code.builtinCode, 127), version
    graph = schema.SubGraphT()
    graph.tensors, graph.inputs, graph.outputs, graph.operators = tensors, inputs, outputs, operators
    model = schema.ModelT()
    model.version, model.operatorCodes, model.subgraphs, model.buffers = 3, [code], [graph], [schema.BufferT()]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(bytes(builder.Output()))
    return path


@pytest.fixture
def declares(tmp_path: Path) -> Callable[[str, int], Path]:
    """``declares(op, version)``: a model whose table of ops names that one; its graph hands the input through."""

    def write(op: str, version: int) -> Path:
        return _write(tmp_path / "declares.tflite", op, version, [], [_tensor("x", [1])], [0], [0])

    return write


@pytest.fixture
def rounding(tmp_path: Path) -> Path:
    """``y = int64(x)`` of float32 [2, 3]."""
    op, options = schema.OperatorT(), schema.CastOptionsT()
    op.opcodeIndex, op.inputs, op.outputs = 0, [0], [1]
    op.builtinOptionsType, op.builtinOptions = schema.BuiltinOptions.CastOptions, options
    tensors = [_tensor(name, [2, 3]) for name in "xy"]
    options.inDataType, options.outDataType = schema.TensorType.FLOAT32, schema.TensorType.INT64
    tensors[1].type = schema.TensorType.INT64
    return _write(tmp_path / "rounding.tflite", "CAST", 1, [op], tensors, [0], [1])


@pytest.fixture
def addition(tmp_path: Path) -> Path:
    """``y = a + b`` on float32 [1, 2, 3]; without a signature."""
    op = schema.OperatorT()
    op.opcodeIndex, op.inputs, op.outputs = 0, [0, 1], [2]
    op.builtinOptionsType, op.builtinOptions = schema.BuiltinOptions.AddOptions, schema.AddOptionsT()
    tensors = [_tensor(name, [1, 2, 3]) for name in "aby"]
    return _write(tmp_path / "addition.tflite", "ADD", 1, [op], tensors, [0, 1], [2])
