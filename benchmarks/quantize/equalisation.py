"""Cross-layer equalisation of a float .tflite (Nagel et al. 2019, section 4.1), for the ablation: what would it bring
to int8?

With weights quantised a channel it can only help activations, whose channels share one scale. A map's channels can be
scaled where all that writes it is linear and all that reads it has weights: between two layers without an activation,
and along a residual stream, where ADD joins maps that must be scaled alike. Hard-swish and LayerNorm are no such
writers or readers.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import DisjointSet

from converters.parity.activations import tflite_values
from converters.quantize.delegated import WEIGHTED
from converters.quantize.weights import CHANNEL_AXIS, along
from converters.tflite.editor import FlatbufferEditor
from evit_mobile.tflite.file import Tflite
from evit_mobile.tflite.flatbuffer import pack, unpack
from evit_mobile.tflite.graph import Graph, Op, graph_of

#: Axis of the input channels in each op's weights.
_READ = {"CONV_2D": 3, "FULLY_CONNECTED": 1, "DEPTHWISE_CONV_2D": 3}
#: No channel is scaled by more than this: a channel that is zero on all images is left alone.
LARGEST_FACTOR = 16.0


def equalised(content: bytes, images: Iterable[NDArray[np.float32]]) -> tuple[bytes, int]:
    """The same function with maps' channels of one largest magnitude over ``images``, and how many maps that are."""
    model = unpack(content)
    graph, editor = graph_of(model), FlatbufferEditor(model)
    streams = scalable(graph)
    largest: dict[int, NDArray[np.float32]] = {}
    for image in images:
        values = tflite_values(Tflite(content), {"image": np.moveaxis(image, -1, 1)})
        for stream in streams:
            for tensor in stream:
                magnitudes = np.abs(values[tensor]).reshape(-1, values[tensor].shape[-1]).max(axis=0)
                largest[tensor] = np.maximum(largest.get(tensor, 0), magnitudes)
    factors = {}
    for stream in streams:
        reach = np.max([largest[tensor] for tensor in stream], axis=0)
        factors.update(dict.fromkeys(stream, np.clip(reach.max() / np.maximum(reach, 1e-12), 1, LARGEST_FACTOR)))
    for op, operator in zip(graph.ops, editor.subgraph.operators, strict=True):
        if op.type in WEIGHTED and not factors.keys().isdisjoint((op.inputs[0], op.outputs[0])):
            operator.inputs = np.array(_scaled(op, graph, editor, factors), np.int32)
    editor.drop_unused_data()
    return pack(model), sum(map(len, streams))


def scalable(graph: Graph) -> list[set[int]]:
    """Activations whose channels can be scaled, those together that must be scaled alike."""
    producers = {tensor: op for op in graph.ops for tensor in op.outputs}
    readers = graph.readers()
    maps = [
        tensor for tensor, op in producers.items() if graph.tensors[tensor].dtype == "float32" and op.depends_on_input
    ]
    joined = DisjointSet(maps)
    for op in graph.ops:
        if _joins(op, graph) and all(tensor in producers for tensor in op.inputs):
            for tensor in op.inputs:
                joined.merge(tensor, op.outputs[0])
    allowed = {
        tensor
        for tensor in maps
        if tensor not in graph.outputs
        and (_joins(producers[tensor], graph) or producers[tensor].type in WEIGHTED and _is_linear(producers[tensor]))
        and all(_joins(op, graph) or op.type in WEIGHTED and op.inputs[0] == tensor for op in readers.get(tensor, []))
    }
    return [set(stream) for stream in joined.subsets() if set(stream) <= allowed]


def _is_linear(op: Op) -> bool:
    return bool(op.options.get("fusedActivationFunction", 0) == 0)


def _joins(op: Op, graph: Graph) -> bool:
    """Whether ``op`` adds two maps of one shape."""
    shapes = {graph.tensors[tensor].shape for tensor in op.inputs}
    return (
        op.type == "ADD"
        and _is_linear(op)
        and len(shapes) == 1
        and not any(graph.tensors[tensor].constant for tensor in op.inputs)
    )


def _scaled(op: Op, graph: Graph, editor: FlatbufferEditor, factors: dict[int, NDArray[np.float32]]) -> list[int]:
    """The op's inputs, with weights and bias that expect scaled channels and give them."""
    weights, bias = (graph.tensors[index].values() if index >= 0 else None for index in (*op.inputs[1:], -1)[:2])
    assert weights is not None
    read, written = factors.get(op.inputs[0]), factors.get(op.outputs[0])
    if read is not None:
        weights = weights / along(read, _READ[op.type], weights.ndim)
    if written is not None:
        weights = weights * along(written, CHANNEL_AXIS[op.type], weights.ndim)
        bias = None if bias is None else bias * written
    inputs = list(op.inputs)
    inputs[1] = editor.add_constant(op.inputs[1], weights.astype(np.float32), "FLOAT32", None, b"_scaled")
    if bias is not None:
        inputs[2] = editor.add_constant(op.inputs[2], bias.astype(np.float32), "FLOAT32", None, b"_scaled")
    return inputs
