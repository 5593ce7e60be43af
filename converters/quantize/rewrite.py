"""Writes a quantised .tflite by a plan: types and parameters of tensors, integer weights, QUANTIZE and DEQUANTIZE at
the boundaries.
"""

from __future__ import annotations

import copy
import dataclasses
from typing import Any, Mapping, Sequence

import numpy as np

from converters.quantize.delegated import CLAMPS, ELEMENTWISE, SHARED, TABLE, WEIGHTED
from converters.quantize.dynamic import make_hybrid
from converters.quantize.observe import Observation
from converters.quantize.plan import OpPlan, QuantisedModel
from converters.quantize.ranges import Parameters
from converters.quantize.weights import corrected_bias, integer_weights, quantise_bias, quantise_weights
from converters.tflite.editor import FlatbufferEditor
from evit_mobile.specs import IoType, Precision
from evit_mobile.tflite.graph import Op, graph_of

#: The version of each op that brought its int8 form; FULLY_CONNECTED's is the one with scales a channel.
INT8_VERSIONS = {
    "CONV_2D": 3, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 12, "ADD": 2, "SUB": 2, "MUL": 2, "PAD": 2, "MEAN": 2,
    "TRANSPOSE": 2, "MAX_POOL_2D": 2, "CONCATENATION": 2, "SLICE": 2, "STRIDED_SLICE": 2, "SPLIT": 2,
    "RESIZE_BILINEAR": 2, "DEPTH_TO_SPACE": 2,
}  # fmt: skip
_CONVERSIONS = {"float32": ("DEQUANTIZE", 2), "int8": ("QUANTIZE", 1), "uint8": ("QUANTIZE", 1)}


class Rewriter:
    """One model on its way from float to integers; to be used once.

    Args:
        tree: the float .tflite's object tree (``ModelT``), which is edited.
        parameters: of the model's ends and every tensor that an int8 op reads or gives.
        means: observations by tensor, for bias correction; None leaves the biases as they are.
        encoded: the source is quantised itself: each tensor with parameters is rounded, whoever reads it, and weights
            that are multiples of a scale stay those.
    """

    def __init__(
        self,
        tree: Any,
        parameters: Mapping[int, Parameters],
        means: Mapping[int, Observation] | None,
        *,
        encoded: bool = False,
    ) -> None:
        self._model = tree
        self._graph = graph_of(self._model)
        self._editor = FlatbufferEditor(self._model)
        self._tensors = self._editor.subgraph.tensors
        self._parameters, self._means, self._encoded = parameters, means, encoded
        self._written: list[tuple[Any, OpPlan]] = []
        #: (tensor, type) -> the tensor that holds its values in that type; of an int8 one in other parameters, those.
        self._twins: dict[tuple[int, str | Parameters], int] = {}
        #: The type in which a tensor is computed.
        self._home: dict[int, str] = {}
        #: The result of an op that int8 needs not, or that is rounded -> the tensor that holds it.
        self._same: dict[int, int] = {}

    def write(self, plan: Sequence[OpPlan], input_type: IoType, output_type: IoType) -> QuantisedModel:
        """The quantised model with ends of these types, and the plan with its own op numbers, boundaries among them."""
        subgraph = self._editor.subgraph
        for index in self._graph.inputs:
            quantised = input_type is not IoType.FLOAT32 and index in self._parameters
            self._settle(index, input_type.value if quantised else "float32")
        for item, operator in zip(plan, list(subgraph.operators), strict=True):
            self._write_op(item, operator)
        self._settle_outputs(output_type)
        subgraph.operators = [operator for operator, _ in self._written]
        self._editor.drop_unused_data()
        written = [dataclasses.replace(item, op=index) for index, (_, item) in enumerate(self._written)]
        return QuantisedModel(self._model, written)

    def _write_op(self, item: OpPlan, operator: Any) -> None:
        op = self._graph.ops[item.op]
        kind = "int8" if item.precision is Precision.INT8 else "float32"
        if kind == "int8" and op.type in TABLE:
            self._write_table(item, operator, op)
            return
        if kind == "int8" and op.type in CLAMPS:
            self._write_clamp(item, op)
            return
        operator.inputs = np.array([self._operand(int(index), op, kind) for index in operator.inputs], np.int32)
        if kind == "int8":
            if op.type in WEIGHTED:
                self._quantise_weights(operator, op)
            operator.opcodeIndex = self._editor.opcode(op.type, max(op.version, self._int8_version(op)))
        elif item.precision is Precision.DYNAMIC:
            make_hybrid(self._editor, self._graph, op, operator)
        self._written.append((operator, item))
        for index in op.outputs:
            if self._graph.tensors[index].dtype == "float32":
                self._settle(index, kind)

    def _write_table(self, item: OpPlan, operator: Any, op: Op) -> None:
        """A function of one value in float, with a DEQUANTIZE and a QUANTIZE that nothing else reads."""
        source, result = self._as(op.inputs[0], "int8"), op.outputs[0]
        operand, target = self._add_twin(op.inputs[0], "float32"), self._add_twin(result, "float32")
        self._tensors[operand].name += b"_of_" + self._tensors[result].name
        self._settle(result, "int8")
        self._convert(source, operand, "float32", item.reason)
        operator.inputs, operator.outputs = np.array([operand], np.int32), np.array([target], np.int32)
        self._written.append((operator, item))
        self._convert(target, result, "int8", item.reason)

    def _write_clamp(self, item: OpPlan, op: Op) -> None:
        """Nothing, where the operand's range ends where the clamp does; a QUANTIZE into such a range elsewhere."""
        source, result = self._as(op.inputs[0], "int8"), op.outputs[0]
        low, high = CLAMPS[op.type]
        before, after = self._parameters[op.inputs[0]], self._parameters[result]
        if before == after and before.low >= low and before.high <= high and result not in self._graph.outputs:
            self._home[result], self._same[result] = "int8", source
            return
        self._settle(result, "int8")
        self._convert(source, result, "int8", item.reason)

    def _convert(self, source: int, result: int, kind: str, reason: str) -> None:
        """QUANTIZE or DEQUANTIZE from tensor ``source`` to ``result``, which is of type ``kind``."""
        name, version = _CONVERSIONS[kind]
        operator = self._editor.operator(name, [source], result, version)
        self._written.append((operator, OpPlan(0, name, self._tensors[result].name.decode(), Precision.INT8, reason)))

    def _settle(self, index: int, kind: str) -> None:
        """``index`` is computed (or given) as ``kind``."""
        self._home[index] = kind
        if kind != "float32":
            self._describe(self._tensors[index], self._parameters[index], kind)
        elif self._encoded and index in self._parameters:
            self._home[index], self._same[index] = "int8", self._as(index, "int8")

    def _settle_outputs(self, io_type: IoType) -> None:
        """Give the outputs in ``io_type`` under their names; one that is neither float nor quantised (class numbers,
        say) as it is.
        """
        outputs = np.array(self._graph.outputs, np.int32)
        for place, index in enumerate(self._graph.outputs):
            home = self._home.get(index)
            if home is None or io_type is not IoType.FLOAT32 and index not in self._parameters:
                continue
            outputs[place] = converted = self._as(index, io_type.value)
            if converted == index:
                continue
            old, new = self._tensors[index], self._tensors[converted]
            old.name, new.name = old.name + b"_quantised", old.name
            for signature in self._model.signatureDefs or []:
                for entry in signature.outputs:
                    if entry.tensorIndex == index:
                        entry.tensorIndex = converted
        self._editor.subgraph.outputs = outputs

    def _operand(self, index: int, op: Op, kind: str) -> int:
        if index < 0 or self._graph.tensors[index].dtype != "float32":
            return index
        if self._graph.tensors[index].constant:
            return self._quantised_constant(index) if kind == "int8" and op.type in ELEMENTWISE else index
        if kind == "int8" and op.type in SHARED and self._parameters[index] != self._parameters[op.outputs[0]]:
            return self._requantised(index, self._parameters[op.outputs[0]])
        return self._as(index, kind)

    def _requantised(self, index: int, parameters: Parameters) -> int:
        """The tensor that holds ``index``'s values in int8 by other parameters."""
        if (index, parameters) not in self._twins:
            source, twin = self._as(index, "int8"), self._add_twin(index, "int8")
            self._tensors[twin].name += f"_{len(self._twins)}".encode()
            self._describe(self._tensors[twin], parameters, "int8")
            self._convert(source, twin, "int8", "boundary from one scale to another")
            self._twins[index, parameters] = twin
        return self._twins[index, parameters]

    def _as(self, index: int, kind: str) -> int:
        """The tensor that holds ``index``'s values as ``kind``, converted where it has not been yet."""
        if kind == self._home[index]:
            return self._same.get(index, index)
        if (index, kind) not in self._twins:
            twin = self._add_twin(index, kind)
            self._convert(self._same.get(index, index), twin, kind, f"boundary from {self._home[index]} to {kind}")
            self._twins[index, kind] = twin
        return self._twins[index, kind]

    def _add_twin(self, index: int, kind: str) -> int:
        twin = copy.deepcopy(self._tensors[index])
        twin.name += b"_" + kind.encode()
        twin.buffer, twin.quantization, twin.type = 0, None, self._editor.tensor_type(kind.upper())
        if kind != "float32":
            self._describe(twin, self._parameters[index], kind)
        return self._editor.add_tensor(twin)

    def _describe(self, tensor: Any, parameters: Parameters, kind: str) -> None:
        tensor.type = self._editor.tensor_type(kind.upper())
        zero_point = parameters.zero_point + (128 if kind == "uint8" else 0)
        tensor.quantization = self._editor.quantisation(np.array([parameters.scale], np.float32), [zero_point])

    def _quantised_constant(self, index: int) -> int:
        if (index, "constant") not in self._twins:
            parameters, values = self._parameters[index], self._graph.tensors[index].values()
            assert values is not None
            integers = np.clip(np.round(values / parameters.scale) + parameters.zero_point, -128, 127).astype(np.int8)
            described = self._editor.quantisation(np.array([parameters.scale], np.float32), [parameters.zero_point])
            self._twins[index, "constant"] = self._editor.add_constant(index, integers, "INT8", described)
        return self._twins[index, "constant"]

    def _quantise_weights(self, operator: Any, op: Op) -> None:
        """New weights and bias for one op; weights that another op reads too are made for each, by its own input's
        scale.
        """
        weights = self._graph.tensors[op.inputs[1]].values()
        assert weights is not None
        channels = weights.shape[3 if op.type == "DEPTHWISE_CONV_2D" else 0]
        bias = self._graph.tensors[op.inputs[2]].values() if len(op.inputs) > 2 else np.zeros(channels, np.float32)
        assert bias is not None
        scale = self._parameters[op.inputs[0]].scale
        on_grid = integer_weights(weights, op.type) if self._encoded else None
        quantised = on_grid or quantise_weights(weights, op.type, bias, scale)
        if self._means is not None:
            bias = corrected_bias(bias, weights, quantised, self._means[op.inputs[0]].channel_means, op.type)
        integers, bias_scales = quantise_bias(bias, scale, quantised)
        edit, zeros = self._editor, [0] * channels
        operator.inputs = np.array(
            [
                operator.inputs[0],
                edit.add_constant(
                    op.inputs[1], quantised.values, "INT8", edit.quantisation(quantised.scales, zeros, quantised.axis)
                ),
                edit.add_constant(op.inputs[-1], integers, "INT32", edit.quantisation(bias_scales, zeros), b"_bias"),
            ],
            np.int32,
        )

    def _int8_version(self, op: Op) -> int:
        if op.type == "MUL":
            first, second = (self._parameters[index].scale for index in (op.inputs[0], op.inputs[-1]))
            if first * second / self._parameters[op.outputs[0]].scale >= 1.0:
                return 3  # TFLite's rule for a product that grows
        return INT8_VERSIONS.get(op.type, 1)
