"""Half precision: a float32 .tflite with float16 weights, and a check of what its values would be in float16.

Weights become float16 constants behind DEQUANTIZE ops: XNNPACK unpacks them once when it is set up, and where the
model's metadata allow it (``reduced_precision_support``) and the processor computes in half precision (Armv8.2),
everything between input and output runs in it. Other processors run the same file in float32.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from converters.float16 import LARGEST, SMALLEST
from evit_mobile.arrays import Array
from evit_mobile.errors import RequestError

if TYPE_CHECKING:
    from converters.parity.stimuli import Stimulus
    from evit_mobile.tflite.file import Tflite
    from evit_mobile.tflite.graph import Graph, Op


#: A value is told where it comes nearer than this factor to the largest: other images may go beyond.
HEADROOM = 4.0


def to_half(file: Tflite) -> Any:
    """``halve`` of a tree of the caller's own."""
    tree = file.editable_tree()
    halve(tree)
    return tree


def halve(model: Any) -> int:
    """Put every float constant of more than one element of an object tree (``ModelT``, edited) into float16, unpacked
    by DEQUANTIZE. Biases of layers with int8 weights stay as they are.

    Returns:
        The number of DEQUANTIZE ops, which come first.

    Raises:
        RequestError: a weight is larger than float16 can hold.
    """
    from ai_edge_litert import schema_py_generated as schema

    from converters.tflite.editor import FlatbufferEditor

    graph = model.subgraphs[0]
    code = FlatbufferEditor(model).opcode("DEQUANTIZE", 3)  # the first version that takes float16
    constants = [(index, _float_constant(model, tensor)) for index, tensor in enumerate(graph.tensors)]
    full = _biases_of_int8(model)
    ops = []
    for index, values in constants:
        # XNNPACK wants a convolution's weights and bias alike, so short biases are packed too.
        if values is None or values.size < 2 or graph.tensors[index].buffer in full:
            continue
        tensor = graph.tensors[index]
        if (largest := float(np.abs(values).max())) > LARGEST:
            name = tensor.name.decode(errors="replace")
            raise RequestError(f"weight {name} reaches {largest:.4g}: fp16 holds at most {LARGEST:.0f}")
        packed, op = schema.TensorT(), schema.OperatorT()
        packed.name, packed.shape, packed.type = tensor.name + b"/fp16", tensor.shape, schema.TensorType.FLOAT16
        # The buffer is changed in place: tensors that share one still do.
        packed.buffer, tensor.buffer = tensor.buffer, 0
        model.buffers[packed.buffer].data = np.frombuffer(values.astype(np.float16).tobytes(), np.uint8)
        graph.tensors.append(packed)
        op.opcodeIndex, op.inputs, op.outputs = code, [len(graph.tensors) - 1], [index]
        op.builtinOptionsType, op.builtinOptions = schema.BuiltinOptions.DequantizeOptions, schema.DequantizeOptionsT()
        ops.append(op)
    graph.operators = ops + list(graph.operators)
    return len(ops)


def _biases_of_int8(model: Any) -> set[int]:
    """Buffers of the constants that layers with int8 weights read."""
    from ai_edge_litert import schema_py_generated as schema

    graph = model.subgraphs[0]
    layers = [
        operator.inputs
        for operator in graph.operators
        if len(operator.inputs) > 2 and graph.tensors[operator.inputs[1]].type == schema.TensorType.INT8
    ]
    return {graph.tensors[index].buffer for inputs in layers for index in inputs[2:]}


@dataclass(frozen=True)
class HalfRange:
    """What decides whether a graph can be computed in float16, over several inputs.

    Attributes:
        largest: largest magnitude of any value, with ``largest_at``, its tensor, and ``largest_input``, the input that
            gave it.
        smallest_denominator: smallest magnitude that anything is divided by, with its tensor; None where nothing is
            divided.
        largest_sum: no sum of products or of a pool's places gets larger on the way, whatever the order, with the
            tensor that it becomes; None where there is none.
    """

    largest: float
    largest_at: str
    largest_input: str
    smallest_denominator: float | None
    smallest_denominator_at: str | None
    largest_sum: float | None
    largest_sum_at: str | None

    def warnings(self) -> list[str]:
        """One line for each thing that may go wrong on other inputs."""
        problems = []
        if self.largest * HEADROOM > LARGEST:
            problems.append(
                f"values reach {self.largest:.4g} at {self.largest_at} on input {self.largest_input}; fp16 ends at "
                f"{LARGEST:.0f}"
            )
        if self.largest_sum is not None and self.largest_sum > LARGEST:
            problems.append(
                f"what is added up to {self.largest_sum_at} comes to {self.largest_sum:.4g}, unless it cancels; fp16 "
                f"ends at {LARGEST:.0f}"
            )
        return problems


def measure_range(model: Tflite, stimuli: Iterable[Stimulus]) -> HalfRange:
    """Run a float32 .tflite on every stimulus and look at all its values.

    Raises:
        RequestError: one is larger than float16 can hold.
    """
    from converters.parity.activations import tflite_values

    graph = model.graph
    divisors, weights = _divisors(graph), _weights_by_tensor(graph)
    largest: tuple[float, str, str] = (0.0, "", "")
    denominators: list[tuple[float, str]] = []
    sums: list[tuple[float, str]] = []
    for stimulus in stimuli:
        values = tflite_values(model, stimulus.inputs)
        magnitudes = {index: float(np.abs(value).max(initial=0)) for index, value in values.items()}
        at = max(magnitudes, key=lambda index: magnitudes[index])
        given = max(float(np.abs(value).max(initial=0)) for value in stimulus.inputs.values())
        largest = max(largest, (magnitudes[at], graph.tensors[at].name, stimulus.name))
        denominators += [
            _denominator(graph, values, index, stimulus.name) for index in sorted(divisors & values.keys())
        ]
        sums += [
            (total, graph.tensors[op.outputs[0]].name)
            for op in graph.ops
            if (total := _largest_sum(graph, op, values, weights, given)) is not None
        ]
    if not largest[0] <= LARGEST:
        reached = f"{largest[1]} reaches {largest[0]:.4g} on input {largest[2]}"
        raise RequestError(
            f"this model cannot be computed in fp16, which ends at {LARGEST:.0f}: {reached}", hint="take fp32 or int8"
        )
    return HalfRange(*largest, *min(denominators, default=(None, None)), *max(sums, default=(None, None)))


def _divisors(graph: Graph) -> set[int]:
    """The tensors by which something is divided: of 1 / √x that is x, which half precision takes for zero long before
    √x.
    """
    squares = {op.outputs[0]: op.inputs[0] for op in graph.ops if op.type == "SQRT"}
    roots = {op.inputs[0] for op in graph.ops if op.type == "RSQRT"}
    return roots | {squares.get(op.inputs[1], op.inputs[1]) for op in graph.ops if op.type == "DIV"}


def _denominator(graph: Graph, values: dict[int, Array], index: int, stimulus: str) -> tuple[float, str]:
    """The smallest number of a tensor by which something is divided, and the tensor's name.

    Raises:
        RequestError: a denominator becomes zero in float16.
    """
    name = graph.tensors[index].name
    denominator = np.abs(values[index])
    if denominator.min() < SMALLEST:
        divided = (
            f"something is divided by {name}, which is {denominator.min():.3g} on input {stimulus} and becomes zero"
        )
        raise RequestError(
            f"this model cannot be computed in fp16: {divided}",
            hint=f"fp16 holds an epsilon of {SMALLEST:.2g} or more; the rewrite of linear attention needs none",
        )
    return float(denominator.min()), name


#: The axis of a layer's weights that counts its outputs; all others are added over.
_OUTPUT_AXIS = {"CONV_2D": 0, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 0, "TRANSPOSE_CONV": 0}


def _weights_by_tensor(graph: Graph) -> dict[int, float]:
    """By the output of each layer, the largest sum of its weights' magnitudes over one output."""
    largest = {}
    for op in graph.ops:
        values = graph.tensors[op.inputs[1]].values() if op.type in _OUTPUT_AXIS else None
        if values is not None:
            axes = tuple(axis for axis in range(values.ndim) if axis != _OUTPUT_AXIS[op.type])
            largest[op.outputs[0]] = float(np.abs(values.astype(np.float32)).sum(axis=axes).max(initial=0))
    return largest


def _largest_sum(
    graph: Graph, op: Op, values: dict[int, Array], weights: dict[int, float], given: float
) -> float | None:
    """What no partial sum of ``op`` exceeds; None where it adds up nothing, or in single precision, as MEAN does.

    ``given`` is the largest magnitude of the graph's own inputs, whose values are not among ``values``.
    """

    def magnitude(index: int) -> float:
        if index in graph.inputs:
            return given
        array = values[index] if index in values else graph.tensors[index].values()
        return 0.0 if array is None else float(np.abs(array).max(initial=0))

    if not op.depends_on_input:
        return None
    if op.type == "AVERAGE_POOL_2D":
        return float(op.options["filterHeight"] * op.options["filterWidth"]) * magnitude(op.inputs[0])
    if op.outputs[0] in weights:
        # A transposed convolution reads its map last, after the sizes of its output and the weights.
        return weights[op.outputs[0]] * magnitude(op.inputs[2 if op.type == "TRANSPOSE_CONV" else 0])
    if op.type != "BATCH_MATMUL":
        return None
    left, right = op.inputs
    if left in values and right in values:
        sides = (np.abs(values[left]), np.abs(values[right]))
        turned = (op.options.get("adjX"), op.options.get("adjY"))
        return float(np.matmul(*(x.swapaxes(-1, -2) if turn else x for x, turn in zip(sides, turned))).max(initial=0))
    depth = graph.tensors[left].shape[-2 if op.options.get("adjX") else -1]
    return depth * magnitude(left) * magnitude(right)


def _float_constant(model: Any, tensor: Any) -> NDArray[np.float32] | None:
    from ai_edge_litert import schema_py_generated as schema

    data = model.buffers[tensor.buffer].data if tensor.buffer else None
    if data is None or not len(data) or tensor.type != schema.TensorType.FLOAT32:
        return None
    values: NDArray[np.float32] = np.frombuffer(np.asarray(data, np.uint8).tobytes(), np.float32)
    return values
