"""Which op of the file each op of the delegate is: a profile in order of execution beside the ops of the file.

The delegate folds padding and activations into their convolutions and adds reshapes of its own, but it keeps the order.
So its ops are matched with those of the file as the longest common subsequence of their types.
"""

from __future__ import annotations

from collections.abc import Sequence

from evit_mobile.tflite.graph import Graph

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
#: Below this share of ops with a match the file's order is not that of the delegate, and none is to be believed.
_LEAST_MATCHED = 0.8


def match(names: Sequence[str], graph: Graph) -> list[int | None]:
    """The index of the file's op that each op of a profile is; None where it has none.

    Args:
        names: of the profile's ops, as the delegate gives them (``Convolution (NHWC, F32) IGEMM``).
        graph: of the file that ran.
    """
    ops = [op for op in graph.ops if op.depends_on_input]
    words = [name.split(" (")[0].replace(" ", "").lower() for name in names]
    is_depthwise = ["DWConv" in name for name in names]
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


def is_believable(matched: Sequence[int | None]) -> bool:
    """Whether enough ops of a profile were found in the file."""
    return sum(index is not None for index in matched) >= _LEAST_MATCHED * len(matched)


def _is(word: str, depthwise: bool, kind: str) -> bool:
    """Whether the delegate's word may stand for an op of the file of type ``kind``."""
    if (kind == "DEPTHWISE_CONV_2D") != depthwise and word == "convolution":
        return False
    if word in _CALLED:
        return kind in _CALLED[word]
    return word.startswith(kind.removesuffix("_2D").replace("_", "").lower())
