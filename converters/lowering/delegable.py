"""Ops of a lowered model in the spelling that a delegate takes.

Given: SLICE whose sizes are -1, for all that is left; SQUEEZE and EXPAND_DIMS; RESHAPE to other
sizes than its result's.
Result: SLICE with sizes, RESHAPE.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from converters.tflite.editor import FlatbufferEditor


def respell(editor: FlatbufferEditor) -> None:
    """Spell the ops of a lowered model as a delegate wants them."""
    operators = editor.subgraph.operators
    respelled = {
        place: other
        for place, operator in enumerate(operators)
        if (other := _SPELLINGS.get(editor.kind(operator), _as_it_is)(editor, operator)) is not None
    }
    if respelled:
        editor.subgraph.operators = [respelled.get(place, operator) for place, operator in enumerate(operators)]
        editor.drop_unused_data()


def _as_it_is(editor: FlatbufferEditor, operator: Any) -> None:
    return None


def _slice(editor: FlatbufferEditor, operator: Any) -> Any | None:
    start, size = (editor.constant(int(index)) for index in operator.inputs[1:3])
    if start is None or size is None or size.dtype != np.int32 or not (size < 0).any():
        return None
    rest = np.array(editor.shape(int(operator.inputs[0])), np.int32) - start
    sizes = np.where(size < 0, rest, size).astype(np.int32)
    place = editor.add_constant(int(operator.outputs[0]), sizes, "INT32", None, b"_size")
    operator.inputs = np.array([*operator.inputs[:2], place], np.int32)
    return operator


def _reshape(editor: FlatbufferEditor, operator: Any) -> Any | None:
    target = int(operator.outputs[0])
    return None if min(editor.shape(target), default=0) < 0 else editor.reshape(int(operator.inputs[0]), target)


def _to_its_sizes(editor: FlatbufferEditor, operator: Any) -> Any | None:
    """onnx2tf joins RESHAPE of RESHAPE, and leaves the sizes of one beside the tensor of the other."""
    target = int(operator.outputs[0])
    sizes = editor.constant(int(operator.inputs[1])) if len(operator.inputs) > 1 else None
    shape = editor.shape(target)
    if sizes is None or -1 in sizes or tuple(sizes) == shape or min(shape, default=0) < 1:
        return None
    return editor.reshape(int(operator.inputs[0]), target) if sizes.prod() == math.prod(shape) else None


#: By op: the op that stands in its place, or None where it stays.
_SPELLINGS: dict[str, Callable[[FlatbufferEditor, Any], Any | None]] = {
    "SLICE": _slice,
    "RESHAPE": _to_its_sizes,
    "SQUEEZE": _reshape,
    "EXPAND_DIMS": _reshape,
}
