"""The logarithm of a softmax as one op.

Given: SOFTMAX, moves of its values or none, and LOG, as LogSoftmax is lowered. A probability below 1e-38, or below
6e-5 in half precision, is zero, and its logarithm minus infinity.
Result: LOG_SOFTMAX, which never forms the probability, and the same moves.
"""

from __future__ import annotations

from typing import Any

from converters.tflite.editor import FlatbufferEditor

_MOVES = frozenset({"TRANSPOSE", "RESHAPE"})


def join_log_softmax(editor: FlatbufferEditor) -> None:
    """Rewrite each such pair of a lowered model."""
    operators = editor.subgraph.operators
    producers = {int(index): operator for operator in operators for index in operator.outputs}
    joined = []
    for operator in operators:
        softmax = _softmax_of(editor, producers, operator) if editor.kind(operator) == "LOG" else None
        if softmax is None:
            continue
        producers[int(operator.inputs[0])].outputs = operator.outputs
        softmax.opcodeIndex = editor.opcode("LOG_SOFTMAX", 1)
        softmax.builtinOptionsType = editor.schema.BuiltinOptions.LogSoftmaxOptions
        softmax.builtinOptions = editor.schema.LogSoftmaxOptionsT()
        joined.append(operator)
    editor.subgraph.operators = [operator for operator in operators if not any(operator is one for one in joined)]
    if joined:
        editor.drop_unused_data()


def _softmax_of(editor: FlatbufferEditor, producers: dict[int, Any], log: Any) -> Any | None:
    """The SOFTMAX whose values ``log`` alone reads, moved or not; None where there is none."""
    operators, outputs = editor.subgraph.operators, {int(index) for index in editor.subgraph.outputs}
    index = int(log.inputs[0])
    while index not in outputs and sum(index in operator.inputs for operator in operators) == 1:
        operator = producers.get(index)
        if operator is None:
            return None
        if editor.kind(operator) == "SOFTMAX":
            return operator if operator.builtinOptions.beta == 1.0 else None
        if editor.kind(operator) not in _MOVES:
            return None
        index = int(operator.inputs[0])
    return None
