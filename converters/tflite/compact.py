"""What a finished file holds twice, or does not need.

A lowered transformer has some thousand constants of a few bytes, the sizes of reshapes and the like, of which four in
five are equal to another; a tensor's description takes more bytes than their values. Large constants of equal bytes,
masks and tables that a network makes anew in each of its blocks, keep their own names and share the bytes.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from evit_mobile.arrays import Array
from evit_mobile.tflite.signatures import content_of

#: Constants of up to so many bytes are sizes, axes and bounds, whose names tell nothing.
_SMALL_BYTES = 64


def compact(model: Any) -> None:
    """Store equal constants once in an object tree (``ModelT``), which is edited, and drop what is not referred to."""
    contents = [content_of(buffer) for buffer in model.buffers]
    first = {content: index for index, content in reversed(list(enumerate(contents))) if content}
    for number, graph in enumerate(model.subgraphs):
        for tensor in graph.tensors:
            tensor.buffer = first.get(contents[tensor.buffer], 0)
            if tensor.shapeSignature is not None and np.array_equal(tensor.shape, tensor.shapeSignature):
                tensor.shapeSignature = None
        signatures = [item for item in model.signatureDefs or [] if item.subgraphIndex == number]
        ends = [entry for item in signatures for entry in [*item.inputs, *item.outputs]]
        _share_small_constants(model, graph)
        _drop_unused_tensors(graph, ends)
    _drop_unused_buffers(model)


def _share_small_constants(model: Any, graph: Any) -> None:
    """Let all ops that read equal small constants read the first of them."""
    places: dict[tuple[int, int, tuple[int, ...]], int] = {}
    same = np.arange(len(graph.tensors), dtype=np.int32)
    for index, tensor in enumerate(graph.tensors):
        data = model.buffers[tensor.buffer].data if tensor.buffer else None
        if data is not None and len(data) <= _SMALL_BYTES and not _is_quantised(tensor):
            shape = () if tensor.shape is None else tuple(map(int, tensor.shape))
            same[index] = places.setdefault((tensor.buffer, tensor.type, shape), index)
    for operator in graph.operators:
        operator.inputs = _moved(operator.inputs, same)


def _is_quantised(tensor: Any) -> bool:
    scale = None if tensor.quantization is None else tensor.quantization.scale
    return scale is not None and len(scale) > 0


def _drop_unused_tensors(graph: Any, ends: list[Any]) -> None:
    """Drop tensors that no op has; ``ends`` are the entries of the graph's signatures."""
    lists = [graph.inputs, graph.outputs]
    for operator in graph.operators:
        lists += [operator.inputs, operator.outputs, operator.intermediates]
    used = sorted({int(index) for indices in lists if indices is not None for index in indices if index >= 0})
    places = np.full(len(graph.tensors), -1, np.int32)
    places[used] = np.arange(len(used))
    graph.tensors = [graph.tensors[index] for index in used]
    graph.inputs, graph.outputs = _moved(graph.inputs, places), _moved(graph.outputs, places)
    for operator in graph.operators:
        operator.inputs, operator.outputs = _moved(operator.inputs, places), _moved(operator.outputs, places)
        if operator.intermediates is not None:
            operator.intermediates = _moved(operator.intermediates, places)
    for entry in ends:
        entry.tensorIndex = int(places[entry.tensorIndex])


def _moved(indices: Array, places: Array) -> Array:
    """Indices of tensors after a move; -1, an operand that is left out, stays."""
    return np.array([index if index < 0 else places[index] for index in indices], np.int32)


def _drop_unused_buffers(model: Any) -> None:
    """Keep the first buffer, which is empty, and those of tensors and of metadata."""
    tensors = [tensor for graph in model.subgraphs for tensor in graph.tensors]
    holders = [*tensors, *(model.metadata or [])]
    used = sorted({0, *(int(holder.buffer) for holder in holders)})
    places = {index: place for place, index in enumerate(used)}
    model.buffers = [model.buffers[index] for index in used]
    for holder in holders:
        holder.buffer = places[holder.buffer]
