"""A float .tflite as half precision computes it, on a machine that has none: every value is rounded to float16.

Arm's processors compute in half precision from Armv8.2 on; most others run the same file in float32, where nothing
overflows at 65504 and no square is lost. Here the ops compute in float32 and their results are stored in float16. An
Armv8.2 processor adds up products in float16 too, so that its results are further off: 1.2e-2 for base-r224, 6e-4 here.
What this finds is a value that float16 cannot hold, and what follows from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from evit_mobile.arrays import Array
from evit_mobile.tflite.file import Tflite
from evit_mobile.tflite.flatbuffer import pack

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
    """``model`` with two CAST ops behind each op that computes float32 from the input, and behind each float32 input:
    to float16 and back. Its tensors keep their indices; those that hold what is not rounded yet come after them.
    """
    from converters.tflite.editor import FlatbufferEditor

    editor = FlatbufferEditor(model.editable_tree())
    float32 = editor.tensor_type("FLOAT32")
    tensors, operators = editor.subgraph.tensors, []
    rounded = {index: _like(editor, index, "FLOAT32") for index in model.graph.inputs if tensors[index].type == float32}
    for index, place in rounded.items():
        operators += _roundings(editor, index, place)
    for op, operator in zip(model.graph.ops, editor.subgraph.operators):
        operator.inputs = np.array([rounded.get(int(index), index) for index in operator.inputs], np.int32)
        operators.append(operator)
        if not op.depends_on_input or op.type in _MOVES:
            continue
        for index in op.outputs:
            if tensors[index].type == float32:
                exact = _like(editor, index, "FLOAT32")
                operator.outputs = np.where(np.asarray(operator.outputs) == index, exact, operator.outputs)
                operators += _roundings(editor, exact, index)
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


def _like(editor: FlatbufferEditor, index: int, type_name: str) -> int:
    """A new tensor of the sizes of tensor ``index``."""
    like, tensor = editor.subgraph.tensors[index], editor.schema.TensorT()
    tensor.name, tensor.shape, tensor.buffer = like.name + f"/{type_name.lower()}".encode(), like.shape, 0
    tensor.type = editor.tensor_type(type_name)
    return editor.add_tensor(tensor)


def _roundings(editor: FlatbufferEditor, source: int, target: int) -> list[Any]:
    half = _like(editor, target, "FLOAT16")
    casts = [editor.operator("CAST", [source], half), editor.operator("CAST", [half], target)]
    for cast, types in zip(casts, (("FLOAT32", "FLOAT16"), ("FLOAT16", "FLOAT32"))):
        cast.builtinOptionsType, cast.builtinOptions = editor.schema.BuiltinOptions.CastOptions, editor.schema.CastOptionsT()
        cast.builtinOptions.inDataType, cast.builtinOptions.outDataType = map(editor.tensor_type, types)
    return casts
