"""Which layer parts first: intermediate values of a .tflite beside those of the network that it was made from.

A rewritten graph does not compute every intermediate value of its source, so layers are not paired by position.
Instead:

1. Every value that the reference computes (PyTorch modules by forward hooks, and the nodes of the stock ONNX graph) is
collected on one
   input, and every value of the .tflite, with TFLite's own kernels and all tensors kept.
2. A .tflite tensor *agrees* if it equals one of the reference's values up to layout: the same numbers flattened as they
are, or with
   their axes split in two groups and those swapped (NCHW and NHWC; [heads, head_dim, N] and [N, heads * head_dim]), or
   with the last two axes swapped (K and its transpose).
   Where verification failed, "equals" is taken sharply, by the error that the file's best layers have: a fault shows
   where the error jumps, which may be long before it passes the bound on outputs.
3. An op is *sound* if a tensor that agrees depends on it (through a slice: if all slices agree). What is left, from the
first unsound
   op on, is wrong or depends on what is.
4. Folded layers leave unsound ops too, if the next value that could agree is wrong: say, the inside of a layer
normalisation whose
   scale moved into a damaged convolution. So the first unsound op is named whose tensor carries the name of a reference
   value and yet has another value.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Iterator

import numpy as np

from converters.parity.activations import Trace, reference_trace, tflite_values
from converters.parity.matching import Matcher, orders
from converters.parity.reference import Reference
from converters.parity.stimuli import Stimulus
from evit_mobile.arrays import Array
from evit_mobile.tflite.file import Tflite
from evit_mobile.tflite.graph import Graph, Op

#: Ops that read a part of their operand.
SLICING = frozenset({"GATHER", "SLICE", "STRIDED_SLICE", "SPLIT", "SPLIT_V", "UNPACK"})
#: A jump of the error: this many times what the tenth best layer of a hundred has. Undamaged models stay below a fifth
#: of it on noise.
JUMP = 10.0
#: Normalisations are folded into what follows; their outputs may then stand unscaled under the old name.
FOLDABLE = frozenset({"LayerNormalization", "BatchNormalization", "InstanceNormalization", "GroupNormalization"})


@dataclass(frozen=True)
class LayerMatch:
    """A module (of an ONNX source: a node) and the .tflite tensor that holds its output; None where no tensor does."""

    layer: str
    type: str
    tensor: str | None
    relative_error: float | None


@dataclass(frozen=True)
class LayerReport:
    """Where the .tflite parts from its source.

    Attributes:
        input: what both were run on.
        tolerance: largest relative error of values that were taken to agree.
        parted: dotted name of the first layer whose value differs, or None if none does.
        op: index, type and output tensor of the .tflite op that computes it.
        last_agreeing: the layer that ran last of those, before ``parted``, which agree.
        layers: every layer in order of execution.
    """

    input: str
    tolerance: float
    parted: str | None
    op: str | None
    last_agreeing: str | None
    layers: list[LayerMatch]


def find_parting_layer(
    path: Path, reference: Reference, stimulus: Stimulus, tolerance: float, *, failed: bool, rewritten: bool
) -> LayerReport:
    """Run both on ``stimulus`` and say where they part.

    Args:
        tolerance: largest relative error of values that agree.
        failed: an output is wrong, so a fault is there to be found.
        rewritten: the graph was, so normalisations may be folded.

    Raises:
        RequestError: LiteRT cannot load the file.
    """
    trace = reference_trace(reference, stimulus.inputs)
    model = Tflite.read(path)
    graph, values = model.graph, tflite_values(model, stimulus.inputs)
    matches = Matcher(trace.activations, tolerance).match_all(values)
    if failed and matches:
        best = [candidates[0][1] for candidates in matches.values()]
        tolerance = min(tolerance, JUMP * float(np.percentile(best, 10)))
        sharp = {
            index: [match for match in candidates if match[1] <= tolerance] for index, candidates in matches.items()
        }
        matches = {index: candidates for index, candidates in sharp.items() if candidates}
    layers = list(_layer_matches(trace, graph, matches))
    unsound = _unsound_ops(graph, set(matches))
    if not unsound:
        return LayerReport(stimulus.name, tolerance, None, None, None, layers)
    op, layer = _first_contradiction(graph, unsound, values, trace, FOLDABLE if rewritten else frozenset())
    name = graph.tensors[op.outputs[0]].name
    return LayerReport(
        stimulus.name,
        tolerance,
        layer,
        f"op {op.index}, {op.type}, tensor {name}",
        _last_agreeing(layers, layer),
        layers,
    )


def _layer_matches(trace: Trace, graph: Graph, matches: dict[int, list[tuple[int, float]]]) -> Iterator[LayerMatch]:
    best: dict[int, tuple[float, int]] = {}
    for index, found in matches.items():
        for number, error in found:
            best[number] = min(best.get(number, (np.inf, -1)), (error, index))
    for number, activation in enumerate(trace.activations):
        if activation.is_layer:
            if number in best:
                error, index = best[number]
                yield LayerMatch(activation.name, activation.type, graph.tensors[index].name, error)
            else:
                yield LayerMatch(activation.name, activation.type, None, None)


def _unsound_ops(graph: Graph, agreeing: set[int]) -> list[Op]:
    """Ops that the outputs depend on and no agreeing tensor does, in order of execution; ops on constants alone left
    out.
    """
    sound = _sound_ops(graph, agreeing)
    needed = graph.ancestors(set(graph.outputs))
    return [op for op in graph.ops if op.depends_on_input and op.index in needed and op.index not in sound]


def _sound_ops(graph: Graph, agreeing: set[int]) -> set[int]:
    """Ops that compute an agreeing tensor, or on which one depends.

    A slice that agrees tells nothing of the rest of what it was cut from: that is sound only if all its slices are.
    """
    consumers = graph.readers()
    sound: set[int] = set()
    for op in reversed(graph.ops):
        users = [user for index in op.outputs for user in consumers.get(index, [])]
        slices = [user.index in sound for user in users if user.type in SLICING]
        whole = any(user.index in sound for user in users if user.type not in SLICING)
        if agreeing.intersection(op.outputs) or whole or (slices and all(slices)):
            sound.add(op.index)
    return sound


def _first_contradiction(
    graph: Graph, unsound: list[Op], values: dict[int, Array], trace: Trace, foldable: frozenset[str]
) -> tuple[Op, str]:
    """The op and the layer to blame; values of ``foldable`` ONNX types are let off where only scales and shifts are
    missing.
    """
    for op in unsound:
        for index in op.outputs:
            claimed = trace.claimed(graph.tensors[index].name)
            if claimed is None or claimed.value.size != values[index].size:
                continue
            if claimed.type in foldable and _same_up_to_scale_and_shift(claimed.value, values[index]):
                continue
            # A fused activation carries the activation's name; the weights tell whose op it is.
            names = [graph.tensors[operand].name for operand in op.inputs if graph.tensors[operand].constant]
            return op, trace.layer_of_weights(names) or claimed.layer
    first = unsound[0]
    names = [graph.tensors[index].name for index in (*first.outputs, *first.inputs)]
    return first, next(filter(None, map(trace.layer_in, names)), names[0])


def _same_up_to_scale_and_shift(expected: Array, actual: Array) -> bool:
    """Whether each channel of ``actual`` (NHWC) is a linear function of the same channel of ``expected`` (any
    layout).
    """
    channels = actual.shape[-1]
    standardised = _standardised(actual.reshape(-1, channels))
    for order in orders(expected):
        candidate = _standardised(order().reshape(-1, channels))
        # Either sign of the scale; 1e-2 of a standard deviation is far below what a wrong weight gives.
        distances = (np.abs(candidate + sign * standardised).max(axis=0) for sign in (-1, 1))
        if np.minimum(*distances).max() < 1e-2:
            return True
    return False


def _standardised(columns: Array) -> Array:
    centred = columns - columns.mean(axis=0)
    deviation: Array = centred.std(axis=0)
    return np.asarray(centred / np.where(deviation > 0, deviation, 1))


def _last_agreeing(layers: list[LayerMatch], parted: str) -> str | None:
    last = None
    for layer in layers:
        if layer.layer == parted:
            break
        last = layer.layer if layer.tensor is not None else last
    return last
