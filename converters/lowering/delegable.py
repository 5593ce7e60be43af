"""Ops of a lowered model in the spelling that a delegate takes.

Given: SLICE whose sizes are -1, for all that is left; SQUEEZE and EXPAND_DIMS; PADV2 by zeros.
Result: SLICE with sizes, RESHAPE, PAD.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from converters.tflite.editor import FlatbufferEditor
from evit_mobile.tflite.flatbuffer import pack, unpack


def in_delegable_spelling(content: bytes) -> bytes:
    """The .tflite ``content``, its ops spelled as a delegate wants them; itself where they are."""
    model = unpack(content, "the lowered model")
    editor = FlatbufferEditor(model)
    changed = False
    for operator in editor.subgraph.operators:
        respell = _RESPELLED.get(editor.kind(operator))
        changed = (respell is not None and respell(editor, operator)) or changed
    if not changed:
        return content
    editor.drop_unused_data()
    return pack(model, len(content))


def _slice(editor: FlatbufferEditor, operator: Any) -> bool:
    start, size = (editor.constant(int(index)) for index in operator.inputs[1:3])
    if start is None or size is None or size.dtype != np.int32 or not (size < 0).any():
        return False
    rest = np.array(editor.shape(int(operator.inputs[0])), np.int32) - start
    sizes = np.where(size < 0, rest, size).astype(np.int32)
    place = editor.add_constant(int(operator.outputs[0]), sizes, "INT32", None, b"_size")
    operator.inputs = np.array([*operator.inputs[:2], place], np.int32)
    return True


def _reshape(editor: FlatbufferEditor, operator: Any) -> bool:
    shape = np.array(editor.shape(int(operator.outputs[0])), np.int32)
    if (shape < 0).any():
        return False
    options = editor.schema.ReshapeOptionsT()
    options.newShape = [int(size) for size in shape]
    size = editor.add_constant(int(operator.outputs[0]), shape, "INT32", None, b"_shape")
    operator.opcodeIndex, operator.inputs = editor.opcode("RESHAPE", 1), np.array([operator.inputs[0], size], np.int32)
    operator.builtinOptionsType, operator.builtinOptions = editor.schema.BuiltinOptions.ReshapeOptions, options
    return True


def _pad(editor: FlatbufferEditor, operator: Any) -> bool:
    value = editor.constant(int(operator.inputs[2]))
    if value is None or value.dtype != np.float32 or value.any():
        return False
    operator.opcodeIndex, operator.inputs = editor.opcode("PAD", 1), np.array(operator.inputs[:2], np.int32)
    operator.builtinOptionsType = editor.schema.BuiltinOptions.PadOptions
    operator.builtinOptions = editor.schema.PadOptionsT()
    return True


_RESPELLED: dict[str, Callable[[FlatbufferEditor, Any], bool]] = {
    "SLICE": _slice,
    "SQUEEZE": _reshape,
    "EXPAND_DIMS": _reshape,
    "PADV2": _pad,
}
