"""Inspection against other counters, and undelegated ops whose reason is known because they were built so."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ai_edge_litert import schema_py_generated as schema
from torch.utils.flop_counter import FlopCounterMode

from converters.source.load import load_source
from converters.tflite.inspection import inspect_model
from evit_mobile.errors import RequestError
from evit_mobile.specs import Resolution
from evit_mobile.tflite.flatbuffer import pack

SMALL = Resolution(96, 96)


@pytest.fixture(scope="module")
def stock(converted: Callable[..., Path]) -> Path:
    """base-r192 at 96x96 as exported."""
    return converted("base-r192", resolution=SMALL, rewrite=False)


def test_macs_against_pytorch(stock: Path) -> None:
    module = load_source("base-r192", SMALL).module
    assert module is not None
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        module(torch.zeros(1, 3, 96, 96))
    # Convolutions, linear layers and matrix products, two operations each; a tenth of a percent for what either leaves
    # out.
    assert inspect_model(stock).macs == pytest.approx(counter.get_total_flops() / 2, rel=1e-3)


def test_stock_graph(stock: Path) -> None:
    """What onnx2tf makes of seven attention layers: q, k and v of each are gathered from a rank-5 tensor outside the
    delegate.
    """
    inspection = inspect_model(stock)
    assert inspection.partitions == 8 and len(inspection.undelegated) == 21
    assert {op.type for op in inspection.undelegated} == {"GATHER"}
    assert (
        inspection.undelegated[0].reason
        == "litert does not delegate this GATHER (float32, rank 5), tried alone and at rank 4"
    )
    assert sum(inspection.op_counts.values()) == inspection.op_total == len(inspection.ops)
    assert {op.partition for op in inspection.ops} == {None, *range(8)}
    assert {op.index for op in inspection.ops if op.partition is None} == {
        op.index for op in inspection.undelegated
    } | set(inspection.idle)


def test_what_the_file_says(small_tflite: Path) -> None:
    inspection = inspect_model(small_tflite)
    assert [(tensor.name, tensor.shape, tensor.dtype) for tensor in inspection.inputs] == [
        ("image", (1, 96, 96, 3), "float32")
    ]
    assert [(tensor.name, tensor.shape) for tensor in inspection.outputs] == [("logits", (1, 1000))]
    assert inspection.signatures == ["serving_default"] and inspection.size_bytes == small_tflite.stat().st_size
    assert inspection.description is not None and inspection.description.model == "base-r192"
    assert inspection.minimum_runtime is not None
    # Weights are nearly all of the file; 4 bytes each.
    module = load_source("base-r192", SMALL).module
    assert module is not None
    assert inspection.parameter_bytes == pytest.approx(
        4 * sum(parameter.numel() for parameter in module.parameters()), rel=0.02
    )
    document = json.loads(json.dumps(inspection.to_json(), allow_nan=False))
    assert document["undelegated_count"] == len(document["undelegated"])


def _one_op(
    path: Path, op: str, options: Any, shapes: list[list[int]], dtype: int, scales: list[float] | None = None
) -> Path:
    """A model of one op: the last of ``shapes`` is its result's, the others its operands'."""
    model, graph, code, operator = schema.ModelT(), schema.SubGraphT(), schema.OperatorCodeT(), schema.OperatorT()
    code.builtinCode = code.deprecatedBuiltinCode = getattr(schema.BuiltinOperator, op)
    code.version = 2 if scales else 1
    graph.tensors = []
    for number, shape in enumerate(shapes):
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.type = f"t{number}", shape, dtype
        if scales:
            tensor.quantization = schema.QuantizationParametersT()
            tensor.quantization.scale = np.array([scales[number]], np.float32)
            tensor.quantization.zeroPoint = np.array([0], np.int64)
        graph.tensors.append(tensor)
    operator.inputs, operator.outputs = list(range(len(shapes) - 1)), [len(shapes) - 1]
    if options is not None:
        name = type(options).__name__.removesuffix("T")
        operator.builtinOptionsType, operator.builtinOptions = getattr(schema.BuiltinOptions, name), options
    graph.inputs, graph.outputs, graph.operators = operator.inputs, operator.outputs, [operator]
    model.version, model.operatorCodes, model.subgraphs, model.buffers = 3, [code], [graph], [schema.BufferT()]
    path.write_bytes(pack(model))
    return path


CASES = {
    "integers": (
        "ADD",
        schema.AddOptionsT(),
        [[1, 4]] * 3,
        schema.TensorType.INT32,
        None,
        "litert does not delegate ADD on int32",
    ),
    "scales": (
        "ADD",
        schema.AddOptionsT(),
        [[1, 4]] * 3,
        schema.TensorType.INT8,
        [1.0, 1e-6, 1.0],
        "the scales of its operands",
    ),
    "type": ("COS", None, [[1, 4]] * 2, schema.TensorType.FLOAT32, None, None),
}


@pytest.mark.parametrize("case", CASES)
def test_reasons_of_ops_built_to_be_refused(case: str, tmp_path: Path) -> None:
    op, options, shapes, dtype, scales, expected = CASES[case]
    inspection = inspect_model(_one_op(tmp_path / "one.tflite", op, options, shapes, dtype, scales))
    if expected is None:
        # A delegated op needs no reason.
        assert (inspection.partitions, inspection.undelegated) == (1, [])
        return
    assert inspection.partitions == 0 and len(inspection.undelegated) == 1
    assert inspection.undelegated[0].reason.startswith(expected)


def test_one_float_op_is_one_partition(tmp_path: Path) -> None:
    path = _one_op(tmp_path / "one.tflite", "ADD", schema.AddOptionsT(), [[1, 4]] * 3, schema.TensorType.FLOAT32)
    inspection = inspect_model(path)
    assert (inspection.partitions, inspection.undelegated, inspection.idle) == (1, [], [])


@pytest.mark.parametrize("kind", ["truncated", "png", "onnx", "absent", "folder", "empty"])
def test_what_is_no_tflite_is_refused(kind: str, small_tflite: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    contents = {
        "truncated": small_tflite.read_bytes()[:100_000],
        "png": b"\x89PNG\r\n\x1a\n" * 9,
        "onnx": b"\x08\x08\x12\x07pytorch" * 9,
    }
    if kind == "folder":
        path.mkdir()
    elif kind != "absent":
        path.write_bytes(contents.get(kind, b""))
    with pytest.raises(RequestError, match="model.tflite"):
        inspect_model(path)
