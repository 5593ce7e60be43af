"""Ops that take places of an axis by a table, in ops that a delegate takes.

Given: GATHER by constant places, REVERSE_V2, MIRROR_PAD and TILE of float32 values: they leave the delegate.
Result: RESHAPE, TRANSPOSE, RESHAPE where the table is a grid that is read by columns, as a shuffle of channels is;
SLICE and CONCATENATION where it is a few runs of neighbours; else a product with a matrix of zeros and ones, which is
exact for finite values. PADV2 becomes PAD and, for a number other than 0, the ADD of what is that number at the
border and 0 inside. SLICE of more axes than its own kernel takes is one of fewer: axes that it leaves whole are joined.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from converters.lowering.writer import OpWriter
from converters.tflite.editor import FlatbufferEditor
from evit_mobile.arrays import Array

#: Slices up to which a table is joined from its runs.
_MOST_RUNS = 25
#: The largest matrix of zeros and ones: 1024 places from 1024.
_MOST_ELEMENTS = 2**20
#: Operands that XNNPACK's concatenation takes.
_JOINED = 5
#: The highest rank of a slice that TFLite's own kernel runs.
_KERNEL_RANK = 5
#: The highest rank of a slice that is delegated.
_RANK = 4

#: An axis and the place before of each place behind.
Table = tuple[int, Array]


def delegate_places(editor: FlatbufferEditor) -> None:
    """Rewrite such ops of a lowered model."""
    writer = OpWriter(editor)
    for operator in editor.subgraph.operators:
        if not (_is_float(editor, operator) and _rewritten(editor, writer, operator)):
            writer.operators.append(operator)
    editor.subgraph.operators = writer.operators
    editor.drop_unused_data()


def _is_float(editor: FlatbufferEditor, operator: Any) -> bool:
    tensors = [editor.subgraph.tensors[index] for index in (operator.inputs[0], operator.outputs[0]) if index >= 0]
    return all(tensor.type == editor.schema.TensorType.FLOAT32 for tensor in tensors)


def _rewritten(editor: FlatbufferEditor, writer: OpWriter, operator: Any) -> bool:
    """Whether ``writer`` has got what computes the op's result."""
    kind, source, target = editor.kind(operator), int(operator.inputs[0]), int(operator.outputs[0])
    if kind == "PADV2":
        return _border(editor, writer, operator)
    if kind == "SLICE":
        return _narrowed(editor, writer, operator)
    rule = _TABLES.get(kind)
    tables = None if rule is None or editor.constant(source) is not None else rule(editor, operator)
    if tables is None or not all(_is_affordable(axis, table, editor.shape(source)[axis]) for axis, table in tables):
        return False
    value = source
    for axis, table in tables:
        value = _taken(editor, writer, value, axis, table)
    if value == source:  # every place is where it was; others may read the source, too
        writer.operators.append(editor.reshape(source, target))
    else:
        writer.rename(value, target)
    return True


def _narrowed(editor: FlatbufferEditor, writer: OpWriter, operator: Any) -> bool:
    """A slice of more axes than the kernel takes, with neighbouring axes that stay whole as one."""
    source, shape = int(operator.inputs[0]), editor.shape(int(operator.inputs[0]))
    starts, sizes = (editor.constant(int(index)) for index in operator.inputs[1:3])
    if len(shape) <= _KERNEL_RANK or starts is None or sizes is None:
        return False
    joined: list[int] = []
    cuts: dict[int, tuple[int, int]] = {}
    whole = False
    for size, start, count in zip(shape, starts.tolist(), sizes.tolist()):
        if count == size and whole:
            joined[-1] *= size
            continue
        whole = count == size
        if not whole:
            cuts[len(joined)] = start, count
        joined.append(size)
    if len(joined) > _KERNEL_RANK:
        return False
    value = writer.reshape(source, joined)
    for axis, (start, count) in cuts.items():
        value = writer.slice(value, axis, start, count)
    writer.rename(value, int(operator.outputs[0]))
    return True


def _gather(editor: FlatbufferEditor, operator: Any) -> list[Table] | None:
    places, size = editor.constant(int(operator.inputs[1])), editor.shape(int(operator.inputs[0]))
    if places is None or places.dtype != np.int32 or operator.builtinOptions.batchDims:
        return None
    axis = operator.builtinOptions.axis % len(size)
    return [(axis, places.reshape(-1) % size[axis])] if places.size else None


def _reverse(editor: FlatbufferEditor, operator: Any) -> list[Table] | None:
    axes, size = editor.constant(int(operator.inputs[1])), editor.shape(int(operator.inputs[0]))
    if axes is None:
        return None
    return [(axis % len(size), np.arange(size[axis])[::-1]) for axis in map(int, axes.reshape(-1))]


def _mirror(editor: FlatbufferEditor, operator: Any) -> list[Table] | None:
    edges, size = editor.constant(int(operator.inputs[1])), editor.shape(int(operator.inputs[0]))
    if edges is None:
        return None
    reflects = operator.builtinOptions.mode == editor.schema.MirrorPadMode.REFLECT
    return [
        (axis, np.pad(np.arange(size[axis]), tuple(pair), mode="reflect" if reflects else "symmetric"))
        for axis, pair in enumerate(edges)
        if pair.any()
    ]


def _tile(editor: FlatbufferEditor, operator: Any) -> list[Table] | None:
    times, size = editor.constant(int(operator.inputs[1])), editor.shape(int(operator.inputs[0]))
    if times is None:
        return None
    return [(axis, np.tile(np.arange(size[axis]), count)) for axis, count in enumerate(times) if count != 1]


_TABLES: dict[str, Callable[[FlatbufferEditor, Any], list[Table] | None]] = {
    "GATHER": _gather,
    "REVERSE_V2": _reverse,
    "MIRROR_PAD": _mirror,
    "TILE": _tile,
}


def _is_affordable(axis: int, table: Array, size: int) -> bool:
    return _columns(table, size) is not None or len(_runs(table)) <= _MOST_RUNS or table.size * size <= _MOST_ELEMENTS


def _columns(table: Array, size: int) -> int | None:
    """The rows of the grid that the table reads by columns, if it does."""
    if table.size != size:
        return None
    for rows in range(2, size // 2 + 1):
        if size % rows == 0 and np.array_equal(np.arange(size).reshape(rows, -1).T.reshape(-1), table):
            return rows
    return None


def _runs(table: Array) -> list[Array]:
    """The stretches of the table whose places are neighbours."""
    return np.split(table, np.flatnonzero(np.diff(table) != 1) + 1)


def _taken(editor: FlatbufferEditor, writer: OpWriter, value: int, axis: int, table: Array) -> int:
    """``value`` with the places ``table`` of an axis; the result has its rank."""
    shape = editor.shape(value)
    outer, size, inner = math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :])
    after = [*shape[:axis], len(table), *shape[axis + 1 :]]
    rows, runs = _columns(table, size), _runs(table)
    if rows is not None:
        grid = writer.reshape(value, [outer, rows, size // rows, inner])
        return writer.reshape(writer.transpose(grid, (0, 2, 1, 3)), after)
    if len(runs) <= _MOST_RUNS:
        if len(shape) <= _RANK:
            return _joined(editor, writer, value, axis, runs)
        flat = writer.reshape(value, [outer, size, inner])
        return writer.reshape(_joined(editor, writer, flat, 1, runs), after)
    matrix = np.eye(size, dtype=np.float32)[table]
    last = writer.reshape(value, [outer, size, inner])
    if inner > 1:
        last = writer.transpose(last, (0, 2, 1))
    product = writer.product(writer.reshape(last, [outer * inner, size]), matrix)
    if inner > 1:
        product = writer.transpose(writer.reshape(product, [outer, inner, len(table)]), (0, 2, 1))
    return writer.reshape(product, after)


def _joined(editor: FlatbufferEditor, writer: OpWriter, value: int, axis: int, runs: list[Array]) -> int:
    slices: dict[tuple[int, int], int] = {(0, editor.shape(value)[axis]): value}
    parts = []
    for run in runs:
        key = int(run[0]), len(run)
        if key not in slices:
            slices[key] = writer.slice(value, axis, *key)
        parts.append(slices[key])
    while len(parts) > 1:
        groups = [parts[start : start + _JOINED] for start in range(0, len(parts), _JOINED)]
        parts = [writer.concatenate(group, axis) if len(group) > 1 else group[0] for group in groups]
    return parts[0]


def _border(editor: FlatbufferEditor, writer: OpWriter, operator: Any) -> bool:
    """PADV2 as PAD by zeros and, for another number, ADD: x + 0 is x."""
    edges, number = (editor.constant(int(index)) for index in operator.inputs[1:3])
    if edges is None or number is None or np.isnan(number).any() or (edges < 0).any():
        return False
    value = writer.pad(int(operator.inputs[0]), edges)
    if number.any():
        shape = editor.shape(int(operator.inputs[0]))
        inside = np.zeros([size if pair.any() else 1 for size, pair in zip(shape, edges)], np.float32)
        pairs = [tuple(pair) for pair in edges]
        value = writer.add(value, np.pad(inside, pairs, constant_values=number.reshape(-1)[0]))
    writer.rename(value, int(operator.outputs[0]))
    return True
