"""What an op costs: multiply-accumulates, and bytes of weights and activations."""

from __future__ import annotations

import math
from typing import Callable, Sequence

from evit_mobile.tflite.graph import Graph, Op


def macs_of(op: Op, graph: Graph) -> int:
    """Multiply-accumulates of convolutions, fully connected layers and matrix products; 0 for any other op, as is the
    custom.

    A size that is known only at run time counts as 1.
    """
    count = _COUNTERS.get(op.type)
    if count is None:
        return 0
    shapes = [tuple(max(size, 1) for size in graph.tensors[index].shape) for index in op.inputs]
    result = tuple(max(size, 1) for size in graph.tensors[op.outputs[0]].shape)
    return count(shapes, result, bool(op.options.get("adjX")))


def weight_bytes(op: Op, graph: Graph) -> int:
    """Bytes of the constants that the op reads."""
    return sum(graph.tensors[index].size_bytes for index in op.inputs if graph.tensors[index].constant)


def activation_bytes(op: Op, graph: Graph) -> int:
    """Bytes that the op reads and writes of values computed at run time."""
    read = [index for index in op.inputs if not graph.tensors[index].constant]
    return sum(graph.tensors[index].size_bytes for index in (*read, *op.outputs))


def memory_bytes(graph: Graph) -> int:
    """Bytes that running the model needs at once: its constants, which the delegate packs into a copy of its own, and
    the most activations that are alive together.
    """
    last = {index: op.index for op in graph.ops for index in op.inputs}
    last.update(dict.fromkeys(graph.outputs, len(graph.ops)))
    alive = {index for index in graph.inputs if not graph.tensors[index].constant}
    most = 0
    for op in graph.ops:
        alive.update(op.outputs)
        most = max(most, sum(graph.tensors[index].size_bytes for index in alive))
        alive = {index for index in alive if last.get(index, -1) > op.index}
    return most + 2 * sum(tensor.size_bytes for tensor in graph.tensors if tensor.constant)


Shapes = Sequence[tuple[int, ...]]


def _convolution(shapes: Shapes, result: tuple[int, ...], _: bool) -> int:
    """Filter [out, kh, kw, in / groups]."""
    return math.prod(result) * math.prod(shapes[1][1:])


def _depthwise(shapes: Shapes, result: tuple[int, ...], _: bool) -> int:
    """Filter [1, kh, kw, out]."""
    return math.prod(result) * shapes[1][1] * shapes[1][2]


def _fully_connected(shapes: Shapes, result: tuple[int, ...], _: bool) -> int:
    """Weights [out, in]."""
    return math.prod(result) * shapes[1][-1]


def _transposed_convolution(shapes: Shapes, _: tuple[int, ...], __: bool) -> int:
    """Operands: output shape, filter [out, kh, kw, in], data [N, H, W, in]; each value goes to out * kh * kw places."""
    return math.prod(shapes[2]) * math.prod(shapes[1][:3])


def _matrix_product(shapes: Shapes, result: tuple[int, ...], adjoint_x: bool) -> int:
    """[..., M, K] x [..., K, N]; with ``adj_x`` the first is [..., K, M]."""
    return math.prod(result) * shapes[0][-2 if adjoint_x else -1]


_COUNTERS: dict[str, Callable[[Shapes, tuple[int, ...], bool], int]] = {
    "CONV_2D": _convolution,
    "DEPTHWISE_CONV_2D": _depthwise,
    "FULLY_CONNECTED": _fully_connected,
    "TRANSPOSE_CONV": _transposed_convolution,
    "BATCH_MATMUL": _matrix_product,
}
