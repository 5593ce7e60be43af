"""Mean intersection over union of the trained detector and segmenter, in any precision, on held-out drawings."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.accuracy import shapes
from evit_mobile.models.shapes import CLASSES
from evit_mobile.runtimes import RUNTIMES
from evit_mobile.vision.boxes import overlap, select_boxes

#: The training drawings are 0 to 999,999.
FIRST_HELD_OUT = 2_000_000


def box_overlap(model: Path, count: int) -> float:
    """Over ``count`` drawings: of every shape with the best box that was found of its class; 0 where there is none."""
    rows = []
    with RUNTIMES["litert"].open(model) as session:
        order = [session.output_names().index(name) for name in ("boxes", "scores")]
        for seed in range(FIRST_HELD_OUT, FIRST_HELD_OUT + count):
            drawing = shapes.draw(seed)
            outputs = session.run([shapes.inputs(drawing)])
            detections = select_boxes(*(outputs[index][0] for index in order))
            for box, kind in zip(drawing.boxes, drawing.classes):
                of_class = detections.boxes[detections.classes == kind]
                rows.append(float(overlap(box, of_class).max(initial=0)))
    return float(np.mean(rows))


def mask_overlap(model: Path, count: int) -> float:
    """Over the pixels of ``count`` drawings: of every class (the ground is one) with the pixels that were given it,
    averaged.
    """
    classes = len(CLASSES) + 1
    common, union = np.zeros(classes), np.zeros(classes)
    with RUNTIMES["litert"].open(model) as session:
        for seed in range(FIRST_HELD_OUT, FIRST_HELD_OUT + count):
            drawing = shapes.draw(seed)
            [logits] = session.run([shapes.inputs(drawing)])
            predicted = logits[0].argmax(-1)
            for index in range(classes):
                ours, theirs = predicted == index, drawing.mask == index
                common[index] += (ours & theirs).sum()
                union[index] += (ours | theirs).sum()
    return float((common / union).mean())
