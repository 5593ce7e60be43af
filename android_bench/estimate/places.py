"""Where in the network the delegate's ops are: its profile in order of execution beside the ops of the file.

The delegate folds padding and activations into their convolutions and adds reshapes of its own, but it keeps the order.
So its ops are matched with those of the file as the longest common subsequence of their types.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from evit_mobile.results.record import OpTime
from evit_mobile.tflite.costs import macs_of
from evit_mobile.tflite.file import Tflite
from evit_mobile.tflite.graph import Graph
from evit_mobile.tflite.scopes import blocks_of

#: What the delegate's words stand for; any other word begins with the type (``Add``, ``Average Pooling``).
_CALLED = {
    "convolution": ("CONV_2D", "DEPTHWISE_CONV_2D"),
    "fullyconnected": ("FULLY_CONNECTED", "CONV_2D"),
    "batchmatrixmultiply": ("BATCH_MATMUL", "FULLY_CONNECTED"),
    "deconvolution": ("TRANSPOSE_CONV",),
    "staticreshape": ("RESHAPE", "EXPAND_DIMS", "SQUEEZE"),
    "squareroot": ("SQRT",),
    "reciprocalsquareroot": ("RSQRT",),
    "sigmoid": ("LOGISTIC",),
    "clamp": ("RELU", "RELU6", "RELU_N1_TO_1", "MAXIMUM", "MINIMUM"),
    "convert": ("QUANTIZE", "DEQUANTIZE", "CAST"),
    "copy": ("CONCATENATION", "SPLIT", "PACK"),
    "constantpad": ("PAD", "PADV2"),
    "slice": ("SLICE", "STRIDED_SLICE"),
}
#: Below this share of ops with a match the file's order is not that of the delegate, and no place is told.
LEAST_MATCHED = 0.8


@dataclass(frozen=True)
class Place:
    """The block of the network that an op belongs to, its multiply-accumulates, and how often the delegate reads the
    clock in it: it concatenates by a copy of each input, which its profile has once.
    """

    block: str | None
    macs: int
    readings: int = 1


def places(profile: Sequence[OpTime], model: Tflite) -> list[Place]:
    """One entry per op of the profile, in its order; an op that the delegate added is in the block of the one before.

    Args:
        profile: the ops of one inference.
        model: the file that ran.
    """
    graph = model.graph
    matched = match(profile, graph)
    if sum(index is not None for index in matched) < LEAST_MATCHED * len(matched):
        return [Place(None, 0)] * len(matched)
    blocks = blocks_of(graph)
    found: list[Place] = []
    block = next((blocks[index] for index in matched if index in blocks), None)
    for index in matched:
        block = blocks.get(index, block) if index is not None else block
        op = graph.ops[index] if index is not None else None
        readings = len(op.inputs) if op is not None and op.type == "CONCATENATION" else 1
        found.append(Place(block, macs_of(op, graph) if op is not None else 0, readings))
    return found


def match(profile: Sequence[OpTime], graph: Graph) -> list[int | None]:
    """The index of the file's op that each op of the profile is; None where it has none."""
    ops = [op for op in graph.ops if op.depends_on_input]
    words = [op.op.split(" (")[0].replace(" ", "").lower() for op in profile]
    is_depthwise = ["DWConv" in op.op for op in profile]
    alike = [[_is(word, depthwise, op.type) for op in ops] for word, depthwise in zip(words, is_depthwise, strict=True)]
    # best[i][j]: matches that the profile from i on has with the ops from j on.
    best = [[0] * (len(ops) + 1)]
    for row in reversed(alike):
        after, line = best[-1], [0] * (len(ops) + 1)
        for column in range(len(ops) - 1, -1, -1):
            line[column] = after[column + 1] + 1 if row[column] else max(after[column], line[column + 1])
        best.append(line)
    best.reverse()
    matched: list[int | None] = []
    column = 0
    for number, row in enumerate(alike):
        while column < len(ops) and not row[column] and best[number][column + 1] > best[number + 1][column]:
            column += 1
        is_match = column < len(ops) and row[column]
        matched.append(ops[column].index if is_match else None)
        column += is_match
    return matched


def _is(word: str, depthwise: bool, kind: str) -> bool:
    """Whether the delegate's word may stand for an op of the file of type ``kind``."""
    if (kind == "DEPTHWISE_CONV_2D") != depthwise and word == "convolution":
        return False
    if word in _CALLED:
        return kind in _CALLED[word]
    return word.startswith(kind.removesuffix("_2D").replace("_", "").lower())
