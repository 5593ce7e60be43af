"""Edits of a .tflite's object tree: constants, operators, operator codes, clean-up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from evit_mobile.arrays import Array


class FlatbufferEditor:
    """Adds to a ``ModelT`` in place."""

    def __init__(self, model: Any) -> None:
        from ai_edge_litert import schema_py_generated as schema

        self.schema, self.model = schema, model
        self.subgraph = model.subgraphs[0]
        self._kinds = {number: name for name, number in vars(schema.BuiltinOperator).items()}

    def kind(self, operator: Any) -> str:
        """The builtin op's name, as in the schema."""
        code = self.model.operatorCodes[operator.opcodeIndex]
        return str(self._kinds[max(code.builtinCode, code.deprecatedBuiltinCode)])

    def shape(self, index: int) -> tuple[int, ...]:
        """The sizes of tensor ``index``."""
        shape = self.subgraph.tensors[index].shape
        return () if shape is None else tuple(int(size) for size in shape)

    def constant(self, index: int) -> Array | None:
        """The values of tensor ``index`` where it is a constant of float32 or int32."""
        tensor, types = self.subgraph.tensors[index], self.schema.TensorType
        data = self.model.buffers[tensor.buffer].data
        kind = {types.FLOAT32: np.float32, types.INT32: np.int32}.get(tensor.type)
        if data is None or not len(data) or kind is None:
            return None
        return np.frombuffer(bytes(data), kind).reshape(self.shape(index))

    def add_tensor(self, tensor: Any) -> int:
        """Index of ``tensor``, appended."""
        self.subgraph.tensors.append(tensor)
        return len(self.subgraph.tensors) - 1

    def add_constant(self, like: int, values: Array, type_name: str, quantisation: Any, suffix: bytes = b"") -> int:
        """Index of a new constant, named after tensor ``like``; ``type_name`` as in the schema."""
        buffer, tensor = self.schema.BufferT(), self.schema.TensorT()
        buffer.data = np.frombuffer(np.ascontiguousarray(values).tobytes(), np.uint8)
        self.model.buffers.append(buffer)
        tensor.name = self.subgraph.tensors[like].name + suffix
        tensor.shape, tensor.type = np.array(values.shape, np.int32), self.tensor_type(type_name)
        tensor.buffer, tensor.quantization = len(self.model.buffers) - 1, quantisation
        return self.add_tensor(tensor)

    def quantisation(self, scales: Array, zero_points: list[int], axis: int = 0) -> Any:
        """Quantisation parameters, of a whole tensor or along ``axis``."""
        parameters = self.schema.QuantizationParametersT()
        parameters.scale, parameters.zeroPoint, parameters.quantizedDimension = (
            scales,
            np.array(zero_points, np.int64),
            axis,
        )
        return parameters

    def tensor_type(self, name: str) -> int:
        """The schema's number of ``INT8`` and the like."""
        return int(getattr(self.schema.TensorType, name))

    def opcode(self, name: str, version: int) -> int:
        """Index of the operator code of a builtin op in this version, added where there is none."""
        builtin = getattr(self.schema.BuiltinOperator, name)
        for index, code in enumerate(self.model.operatorCodes):
            if max(code.builtinCode, code.deprecatedBuiltinCode) == builtin and code.version == version:
                return index
        code = self.schema.OperatorCodeT()
        code.builtinCode, code.deprecatedBuiltinCode, code.version = builtin, min(builtin, 127), version
        self.model.operatorCodes.append(code)
        return len(self.model.operatorCodes) - 1

    def operator(self, kind: str, inputs: Sequence[int], output: int, version: int = 1) -> Any:
        """A builtin op without options, which is in no subgraph yet."""
        operator = self.schema.OperatorT()
        operator.opcodeIndex = self.opcode(kind, version)
        operator.inputs, operator.outputs = np.array(inputs, np.int32), np.array([output], np.int32)
        return operator

    def entries(self, places: Mapping[str, int]) -> list[Any]:
        """A signature's inputs or outputs: tensors by the names that it gives them."""
        entries = []
        for name, index in places.items():
            entry = self.schema.TensorMapT()
            entry.name, entry.tensorIndex = name.encode(), index
            entries.append(entry)
        return entries

    def reshape(self, source: int, target: int) -> Any:
        """A RESHAPE of ``source`` to the sizes of ``target``, which is in no subgraph yet."""
        shape = self.shape(target)
        sizes = self.add_constant(target, np.array(shape, np.int32), "INT32", None, b"_shape")
        operator = self.operator("RESHAPE", [source, sizes], target)
        operator.builtinOptionsType = self.schema.BuiltinOptions.ReshapeOptions
        operator.builtinOptions = self.schema.ReshapeOptionsT()
        operator.builtinOptions.newShape = list(shape)
        return operator

    def transpose(self, source: int, order: Sequence[int], target: int) -> Any:
        """A TRANSPOSE of ``source`` to ``target``, which is in no subgraph yet."""
        axes = self.add_constant(target, np.array(order, np.int32), "INT32", None, b"_order")
        operator = self.operator("TRANSPOSE", [source, axes], target)
        operator.builtinOptionsType = self.schema.BuiltinOptions.TransposeOptions
        operator.builtinOptions = self.schema.TransposeOptionsT()
        return operator

    def drop_unused_data(self) -> None:
        """Drop operator codes that no op has any more, and empty the buffers of constants that none reads: the float
        weights.
        """
        operators, tensors = self.subgraph.operators, self.subgraph.tensors
        used = sorted({int(operator.opcodeIndex) for operator in operators})
        self.model.operatorCodes = [self.model.operatorCodes[index] for index in used]
        for operator in operators:
            operator.opcodeIndex = used.index(operator.opcodeIndex)
        read = {int(index) for operator in operators for index in operator.inputs if index >= 0}
        kept = {tensors[index].buffer for index in read}
        for index, tensor in enumerate(tensors):
            if index not in read and tensor.buffer not in {0, *kept}:
                self.model.buffers[tensor.buffer].data = None
