"""A float .tflite as half precision computes it, on a machine that has none: every value is rounded to float16.

Arm's processors compute in half precision from Armv8.2 on; most others run the same file in float32, where nothing
overflows at 65504 and no square is lost. Here the ops compute in float32, and their results become what float16 holds
of them. Subnormal numbers become zero, as LiteRT tells the processor to take them. An Armv8.2 processor adds up
products in float16 too, so that its results are further off: 1.2e-2 for base-r224, 4e-3 here. What this finds is a
value that float16 cannot hold, or the sum of a pool's places, and what follows from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from converters.float16 import SMALLEST
from evit_mobile.arrays import Array
from evit_mobile.tflite.file import Tflite
from evit_mobile.tflite.flatbuffer import pack
from evit_mobile.tflite.graph import Op

if TYPE_CHECKING:
    from converters.tflite.editor import FlatbufferEditor

#: Ops whose results are among their operands: rounded once, these stay as they are.
_MOVES = frozenset(
    {
        "BROADCAST_TO", "CONCATENATION", "DEPTH_TO_SPACE", "EXPAND_DIMS", "GATHER", "GATHER_ND", "MAXIMUM",
        "MAX_POOL_2D", "MINIMUM", "MIRROR_PAD", "NEG", "PACK", "PAD", "RELU", "RESHAPE", "RESIZE_NEAREST_NEIGHBOR",
        "REVERSE_V2", "SLICE", "SPACE_TO_DEPTH", "SPLIT", "SPLIT_V", "SQUEEZE", "STRIDED_SLICE", "TILE", "TRANSPOSE",
        "UNPACK",
    }
)  # fmt: skip


def rounded_to_half(model: Tflite) -> Tflite:
    """``model`` with its constants rounded, and with ops that round behind each op that computes float32 from the
    input, and behind each float32 input. Its tensors keep their indices; what is added comes after them.
    """
    from converters.tflite.editor import FlatbufferEditor

    editor = FlatbufferEditor(model.editable_tree())
    _round_constants(editor)
    rounding = _Rounding(editor)
    float32 = editor.tensor_type("FLOAT32")
    tensors, operators = editor.subgraph.tensors, rounding.operators
    rounded = {index: rounding.like(index) for index in model.graph.inputs if tensors[index].type == float32}
    for index, place in rounded.items():
        rounding.round(index, place)
    for op, operator in zip(model.graph.ops, editor.subgraph.operators):
        operator.inputs = np.array([rounded.get(int(index), index) for index in operator.inputs], np.int32)
        operators.append(operator)
        if not op.depends_on_input or op.type in _MOVES:
            continue
        for index in op.outputs:
            if tensors[index].type == float32:
                exact = rounding.like(index)
                operator.outputs = np.where(np.asarray(operator.outputs) == index, exact, operator.outputs)
                rounding.round(rounding.of_sum(exact, op), index)
    editor.subgraph.operators = operators
    return Tflite(pack(editor.model, len(model.content)), model.name)


def first_lost(model: Tflite, rounded: Tflite, inputs: Mapping[str, Array], bound: float) -> str | None:
    """The first op of ``model`` whose value in ``rounded`` is not finite, or else the first that is further off than
    ``bound`` times its largest magnitude; ``inputs`` as ``tflite_values`` takes them.

    Returns:
        Its number, type and tensor; None where there is none.

    Raises:
        RequestError: LiteRT cannot run one of them.
    """
    from converters.parity.activations import tflite_values
    from converters.parity.differences import compare

    expected, actual = tflite_values(model, inputs), tflite_values(rounded, inputs)
    differences = {index: compare(value, actual[index]) for index, value in expected.items()}
    failed = [index for index, difference in differences.items() if difference.failure is not None]
    apart = failed or [index for index, difference in differences.items() if not difference.within(bound)]
    if not apart:
        return None
    op = next(op for op in model.graph.ops if apart[0] in op.outputs)
    return f"op {op.index}, {op.type}, tensor {model.graph.tensors[apart[0]].name}"


def _round_constants(editor: FlatbufferEditor) -> None:
    types = {editor.tensor_type("FLOAT32"): np.float32, editor.tensor_type("FLOAT16"): np.float16}
    buffers = {tensor.buffer: types[tensor.type] for tensor in editor.subgraph.tensors if tensor.type in types}
    for index, kind in buffers.items():
        buffer = editor.model.buffers[index]
        if buffer.data is not None and len(buffer.data):
            with np.errstate(over="ignore"):
                values = np.frombuffer(bytes(buffer.data), kind).astype(np.float16)
            flushed = np.where(np.abs(values) < SMALLEST, np.float16(0), values).astype(kind)
            buffer.data = np.frombuffer(flushed.tobytes(), np.uint8)


class _Rounding:
    """Ops that round, added to ``operators``."""

    def __init__(self, editor: FlatbufferEditor) -> None:
        self.operators: list[Any] = []
        self._editor, self._options = editor, editor.schema.BuiltinOptions
        self._per_smallest = self._number(1 / SMALLEST)

    def like(self, index: int, type_name: str = "FLOAT32") -> int:
        """A new tensor of the sizes of tensor ``index``."""
        tensors = self._editor.subgraph.tensors
        tensor = self._editor.schema.TensorT()
        tensor.name, tensor.shape, tensor.buffer = tensors[index].name + b"/%d" % len(tensors), tensors[index].shape, 0
        tensor.type = self._editor.tensor_type(type_name)
        return self._editor.add_tensor(tensor)

    def round(self, source: int, target: int) -> None:
        """Let tensor ``target`` be what float16 holds of tensor ``source``."""
        schema = self._editor.schema
        held = self._held(source)
        # floor(|x| / smallest), at most 1: 0 for subnormal numbers. XNNPACK computes all four.
        clamped = self._times(held, self._per_smallest, self.like(target), schema.ActivationFunctionType.RELU_N1_TO_1)
        is_normal = self._op("FLOOR", [self._op("ABS", [clamped], self.like(target))], self.like(target))
        self._times(held, is_normal, target)

    def of_sum(self, mean: int, op: Op) -> int:
        """The mean that ``op`` puts into tensor ``mean``, by a sum that float16 holds, where ``op`` adds up in it."""
        if op.type != "AVERAGE_POOL_2D":
            return mean
        count = op.options["filterHeight"] * op.options["filterWidth"]
        total = self._held(self._times(mean, self._number(count), self.like(mean)))
        return self._times(total, self._number(1 / count), self.like(mean))

    def _held(self, source: int) -> int:
        """What float16 holds of tensor ``source``, subnormal numbers too."""
        half = self._cast(source, self.like(source, "FLOAT16"), "FLOAT32", "FLOAT16")
        return self._cast(half, self.like(source), "FLOAT16", "FLOAT32")

    def _number(self, value: float) -> int:
        like = self._editor.subgraph.inputs[0]
        return self._editor.add_constant(like, np.array(value, np.float32), "FLOAT32", None, b"/number")

    def _op(self, kind: str, inputs: list[int], output: int) -> int:
        self.operators.append(self._editor.operator(kind, inputs, output))
        return output

    def _cast(self, source: int, target: int, from_type: str, to_type: str) -> int:
        self._op("CAST", [source], target)
        options = self._editor.schema.CastOptionsT()
        options.inDataType, options.outDataType = map(self._editor.tensor_type, (from_type, to_type))
        self.operators[-1].builtinOptionsType, self.operators[-1].builtinOptions = self._options.CastOptions, options
        return target

    def _times(self, left: int, right: int, target: int, activation: int = 0) -> int:
        self._op("MUL", [left, right], target)
        options = self._editor.schema.MulOptionsT()
        options.fusedActivationFunction = activation
        self.operators[-1].builtinOptionsType, self.operators[-1].builtinOptions = self._options.MulOptions, options
        return target
