"""Accuracy of a .tflite on a folder of pictures with their answers: one module per task."""

from __future__ import annotations

from evit_mobile.evaluation import classification, detection, segmentation
from evit_mobile.evaluation.base import Evaluator

_EVALUATORS: dict[str, Evaluator] = {
    "classification": classification.evaluate,
    "detection": detection.evaluate,
    "segmentation": segmentation.evaluate,
}


def evaluator_of(task: str) -> Evaluator:
    """The evaluation of a task, one of ``evit_mobile.card.TASKS``."""
    return _EVALUATORS[task]
