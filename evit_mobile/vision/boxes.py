"""What is done with a detector's boxes after the model: a threshold, and non-maximum suppression."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evit_mobile.arrays import Float32Array


@dataclass(frozen=True)
class Detections:
    """The boxes that are left, best first: ``boxes`` [K, 4] (x0, y0, x1, y1), ``scores`` [K], ``classes`` [K]."""

    boxes: Float32Array
    scores: Float32Array
    classes: NDArray[np.int64]


def select_boxes(
    boxes: Float32Array, scores: Float32Array, *, threshold: float = 0.3, iou: float = 0.65, most: int = 100
) -> Detections:
    """Non-maximum suppression, each class on its own, of a detector's two outputs: ``boxes`` [M, 4] and ``scores`` [M,
    classes].

    A place counts for its best class alone, as in YOLOX, from a score of ``threshold`` on. A box that overlaps a better
    one of its class by more than ``iou`` goes. ``iou`` is YOLOX's; for average precision, take a threshold of 0.001.
    """
    classes = scores.argmax(1)
    best = scores[np.arange(len(scores)), classes]
    # Stable: of two equal scores the earlier place wins, on every machine.
    candidates = np.argsort(-best, kind="stable")
    candidates = candidates[best[candidates] >= threshold]
    kept: list[int] = []
    while candidates.size and len(kept) < most:
        first, candidates = int(candidates[0]), candidates[1:]
        kept.append(first)
        rivals = (overlap(boxes[first], boxes[candidates]) > iou) & (classes[candidates] == classes[first])
        candidates = candidates[~rivals]
    return Detections(boxes[kept], best[kept], classes[kept])


def overlap(box: Float32Array, others: Float32Array) -> Float32Array:
    """Intersection over union of ``box`` [4] with each of ``others`` [K, 4]; 0 where both are empty."""
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    common = np.prod(np.clip(high - low, 0, None), axis=1)
    union = _area(box[np.newaxis]) + _area(others) - common
    ratio: Float32Array = np.divide(common, union, out=np.zeros_like(common), where=union > 0)
    return ratio


def _area(boxes: Float32Array) -> Float32Array:
    area: Float32Array = np.prod(np.clip(boxes[:, 2:] - boxes[:, :2], 0, None), axis=1)
    return area
