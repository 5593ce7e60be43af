"""Where a model of pictures has its classes: which output, along which axis, and how many there are."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

#: What the op for detections reads: boxes by logarithms of their sides, and scores.
ENCODINGS, SCORES = "encodings", "scores"
#: What it gives, under the names by which MediaPipe finds them: boxes (ymin, xmin, ymax, xmax) as shares of the sides
#: [1, N, 4], class numbers [1, N], scores [1, N], and how many there are [1].
SELECTED = ("location", "category", "score", "number of detections")

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class ClassOutput:
    """The output called ``name`` tells ``count`` classes apart; None where it gives class numbers, which hide it."""

    name: str
    count: int | None


def class_output(task: str | None, outputs: Shapes, *, channels_last: bool) -> ClassOutput | None:
    """The output that holds the classes; None where no output is what a model for ``task`` gives.

    Args:
        task: what the model is for.
        outputs: shapes by name, with the batch axis.
        channels_last: outputs of rank 4 are NHWC, not NCHW.
    """
    if task == "detection" and {*SELECTED} <= outputs.keys():
        return ClassOutput(SELECTED[1], None)
    if task == "detection":
        named = detection_outputs(outputs)
        return ClassOutput(named[1], outputs[named[1]][-1]) if named is not None else None
    if len(outputs) != 1:
        return None
    ((name, shape),) = outputs.items()
    if task == "classification" and len(shape) > 1 and math.prod(shape) == max(shape):
        return ClassOutput(name, max(shape))
    if task == "segmentation" and len(shape) == 4:
        return ClassOutput(name, shape[-1] if channels_last else shape[1])
    return ClassOutput(name, None) if task == "segmentation" and len(shape) == 3 else None


def detection_outputs(outputs: Shapes) -> tuple[str, str] | None:
    """The names of a detector's boxes [1, M, 4] and scores [1, M, classes]: outputs that are called so, else the only
    two of these shapes.
    """
    if {"boxes", "scores"} <= outputs.keys():
        return "boxes", "scores"
    if len(outputs) != 2 or not all(len(shape) == 3 for shape in outputs.values()):
        return None
    (first, one), (second, other) = outputs.items()
    if one[1] != other[1]:
        return None
    if one[2] == 4:
        return first, second
    return (second, first) if other[2] == 4 else None
