"""Writes a quantised .tflite by a plan: types and parameters of tensors, integer weights, QUANTIZE and DEQUANTIZE at the boundaries."""

from __future__ import annotations

import copy
from typing import Any, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from converters.metadata import read_model, write_model
from converters.quantize.delegated import ELEMENTWISE, WEIGHTED
from converters.quantize.observe import Observation
from converters.quantize.plan import OpPlan
from converters.quantize.ranges import Parameters
from converters.quantize.weights import corrected_bias, quantise_bias, quantise_weights
from converters.tflite_graph import Graph, Op, graph_of
from evit_mobile.specs import IoType, Precision

Array = NDArray[Any]

#: The version of each op that brought its int8 form; FULLY_CONNECTED's is the one with scales a channel.
INT8_VERSIONS = {
    "CONV_2D": 3, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 12, "ADD": 2, "SUB": 2, "MUL": 2, "PAD": 2, "MEAN": 2, "TRANSPOSE": 2,
    "MAX_POOL_2D": 2, "CONCATENATION": 2, "SLICE": 2, "STRIDED_SLICE": 2, "SPLIT": 2, "RESIZE_BILINEAR": 2, "RELU": 2, "RELU6": 2,
    "DEPTH_TO_SPACE": 2,
}  # fmt: skip


class Rewriter:
    """One model on its way from float to integers.

    Args:
        content: the float .tflite.
        parameters: of every tensor that an int8 op reads or gives.
        means: observations by tensor, for bias correction; None leaves the biases as they are.
    """

    def __init__(self, content: bytes, parameters: Mapping[int, Parameters], means: Mapping[int, Observation] | None) -> None:
        from ai_edge_litert import schema_py_generated as schema

        self._schema = schema
        self._model = read_model(content)
        self._graph: Graph = graph_of(self._model)
        self._subgraph = self._model.subgraphs[0]
        self._parameters, self._means = parameters, means
        self._operators: list[Any] = []
        self._twins: dict[tuple[int, str], int] = {}
        self._home: dict[int, str] = {}

    def write(self, plan: Sequence[OpPlan], io_type: IoType) -> bytes:
        """The quantised model."""
        originals = list(self._subgraph.operators)
        for index in self._graph.inputs:
            self._settle_input(index, io_type)
        for item, operator in zip(plan, originals, strict=True):
            op = self._graph.ops[item.op]
            kind = "int8" if item.precision is Precision.INT8 else "float32"
            operator.inputs = np.array([self._operand(int(index), op, kind) for index in operator.inputs], np.int32)
            for index in op.outputs:
                if self._graph.tensors[index].dtype == "float32":
                    self._home[index] = kind
                    if kind == "int8":
                        self._make_int8(index, "INT8")
            if kind == "int8":
                if op.type in WEIGHTED:
                    self._quantise_weights(operator, op)
                operator.opcodeIndex = self._opcode(op.type, max(op.version, self._int8_version(op)))
            self._operators.append(operator)
        self._settle_outputs(io_type)
        self._subgraph.operators = self._operators
        _drop_unused_data(self._model)
        return write_model(self._model)

    # Ends of the model.

    def _settle_input(self, index: int, io_type: IoType) -> None:
        if io_type is IoType.FLOAT32 or index not in self._parameters:
            self._home[index] = "float32"
            return
        self._home[index] = io_type.value
        self._make_int8(index, io_type.name)

    def _settle_outputs(self, io_type: IoType) -> None:
        outputs = np.array(self._graph.outputs, np.int32)
        self._subgraph.outputs = outputs
        for place, index in enumerate(self._graph.outputs):
            home = self._home.get(index, "")
            if home not in ("int8", "float32") or home == io_type.value or (home == "float32" and index not in self._parameters):
                continue
            given = self._as(index, io_type.value)
            outputs[place] = given
            old, new = self._subgraph.tensors[index], self._subgraph.tensors[given]
            old.name, new.name = old.name + b"_quantised", old.name
            for signature in self._model.signatureDefs or []:
                for entry in signature.outputs:
                    if entry.tensorIndex == index:
                        entry.tensorIndex = given

    # Operands.

    def _operand(self, index: int, op: Op, kind: str) -> int:
        if index < 0 or self._graph.tensors[index].dtype != "float32":
            return index
        if self._graph.tensors[index].constant:
            return self._quantised_constant(index) if kind == "int8" and op.type in ELEMENTWISE else index
        return self._as(index, kind)

    def _as(self, index: int, kind: str) -> int:
        """The tensor that holds ``index``'s values as ``kind``, converted where it has not been yet."""
        home = self._home[index]
        if kind == home:
            return index
        if (index, kind) not in self._twins:
            twin = self._add_twin(index, kind)
            operator = self._schema.OperatorT()
            to_float = kind == "float32"
            operator.opcodeIndex = self._opcode("DEQUANTIZE", 2) if to_float else self._opcode("QUANTIZE", 1)
            operator.inputs, operator.outputs = np.array([index], np.int32), np.array([twin], np.int32)
            self._operators.append(operator)
            self._twins[index, kind] = twin
        return self._twins[index, kind]

    def _add_twin(self, index: int, kind: str) -> int:
        original = self._subgraph.tensors[index]
        twin = copy.deepcopy(original)
        twin.name = original.name + b"_" + kind.encode()
        twin.buffer, twin.quantization = 0, None
        twin.type = getattr(self._schema.TensorType, kind.upper())
        self._subgraph.tensors.append(twin)
        added = len(self._subgraph.tensors) - 1
        if kind != "float32":
            self._describe(twin, self._parameters[index], kind.upper())
        return added

    def _make_int8(self, index: int, type_name: str) -> None:
        tensor = self._subgraph.tensors[index]
        tensor.type = getattr(self._schema.TensorType, type_name)
        self._describe(tensor, self._parameters[index], type_name)

    def _describe(self, tensor: Any, parameters: Parameters, type_name: str) -> None:
        offset = 128 if type_name == "UINT8" else 0
        tensor.quantization = self._quantisation(np.array([parameters.scale], np.float32), [parameters.zero_point + offset])

    # Constants.

    def _quantised_constant(self, index: int) -> int:
        if (index, "constant") not in self._twins:
            tensor, parameters = self._graph.tensors[index], self._parameters[index]
            values = tensor.values()
            assert values is not None
            integers = np.clip(np.round(values / parameters.scale) + parameters.zero_point, -128, 127).astype(np.int8)
            self._twins[index, "constant"] = self._add_constant(
                index, integers, "INT8", self._quantisation(np.array([parameters.scale], np.float32), [parameters.zero_point])
            )
        return self._twins[index, "constant"]

    def _quantise_weights(self, operator: Any, op: Op) -> None:
        """New weights and bias for one op; the same weights under another op are made again, for its own input's scale."""
        weights = self._graph.tensors[op.inputs[1]].values()
        assert weights is not None
        channels = weights.shape[3 if op.type == "DEPTHWISE_CONV_2D" else 0]
        bias = self._graph.tensors[op.inputs[2]].values() if len(op.inputs) > 2 else np.zeros(channels, np.float32)
        assert bias is not None
        scale = self._parameters[op.inputs[0]].scale
        quantised = quantise_weights(weights, op.type, bias, scale)
        if self._means is not None:
            bias = corrected_bias(bias, weights, quantised, self._means[op.inputs[0]].channel_means, op.type)
        integers, bias_scales = quantise_bias(bias, scale, quantised)
        new = [
            self._add_constant(
                op.inputs[1], quantised.values, "INT8",
                self._quantisation(quantised.scales, [0] * channels, quantised.axis)),
            self._add_constant(
                op.inputs[2] if len(op.inputs) > 2 else op.inputs[1], integers, "INT32",
                self._quantisation(bias_scales, [0] * channels, 0)),
        ]  # fmt: skip
        operator.inputs = np.array([operator.inputs[0], *new], np.int32)

    def _add_constant(self, like: int, values: Array, type_name: str, quantisation: Any) -> int:
        buffer, tensor = self._schema.BufferT(), self._schema.TensorT()
        buffer.data = np.frombuffer(np.ascontiguousarray(values).tobytes(), np.uint8)
        self._model.buffers.append(buffer)
        tensor.name = self._subgraph.tensors[like].name + (b"_bias" if type_name == "INT32" else b"")
        tensor.shape, tensor.type = np.array(values.shape, np.int32), getattr(self._schema.TensorType, type_name)
        tensor.buffer, tensor.quantization = len(self._model.buffers) - 1, quantisation
        self._subgraph.tensors.append(tensor)
        return len(self._subgraph.tensors) - 1

    def _quantisation(self, scales: Array, zero_points: list[int], axis: int = 0) -> Any:
        made = self._schema.QuantizationParametersT()
        made.scale, made.zeroPoint, made.quantizedDimension = scales, np.array(zero_points, np.int64), axis
        return made

    # Operator codes.

    def _int8_version(self, op: Op) -> int:
        if op.type == "MUL":
            first, second = (self._parameters[index].scale for index in (op.inputs[0], op.inputs[-1]))
            if first * second / self._parameters[op.outputs[0]].scale >= 1.0:
                return 3  # TFLite's rule for a product that grows
        return INT8_VERSIONS.get(op.type, 1)

    def _opcode(self, name: str, version: int) -> int:
        wanted = getattr(self._schema.BuiltinOperator, name)
        for index, code in enumerate(self._model.operatorCodes):
            if max(code.builtinCode, code.deprecatedBuiltinCode) == wanted and code.version == version:
                return index
        code = self._schema.OperatorCodeT()
        code.builtinCode, code.deprecatedBuiltinCode, code.version = wanted, min(wanted, 127), version
        self._model.operatorCodes.append(code)
        return len(self._model.operatorCodes) - 1


def _drop_unused_data(model: Any) -> None:
    """Empty the buffers of constants that no op reads any more: the float weights."""
    subgraph = model.subgraphs[0]
    read = {int(index) for operator in subgraph.operators for index in operator.inputs if index >= 0}
    kept = {subgraph.tensors[index].buffer for index in read}
    for index, tensor in enumerate(subgraph.tensors):
        if index not in read and tensor.buffer and tensor.buffer not in kept:
            model.buffers[tensor.buffer].data = None
