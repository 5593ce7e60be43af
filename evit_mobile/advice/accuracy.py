"""Accuracy of a file on pictures whose answers are known."""

from __future__ import annotations

from pathlib import Path

from evit_mobile.advice.choice import Requirement
from evit_mobile.errors import RequestError
from evit_mobile.specs import Resolution
from evit_mobile.tflite.file import Tflite

#: What stands for the accuracy of a task.
FIGURES = {"classification": "top1", "detection": "ap", "segmentation": "miou"}


def accuracy_of(path: Path, requirement: Requirement) -> tuple[str, float]:
    """Name and value, from 0 to 1, of a file's accuracy on the data that are required.

    Raises:
        RequestError: the model neither classifies, detects nor segments, or the data do not fit it.
    """
    from evit_mobile.evaluation import evaluator_of
    from evit_mobile.evaluation.base import Options
    from evit_mobile.models import trained_of
    from evit_mobile.vision.inference import open_model

    description = Tflite.read(path).description
    task = description.task if description is not None else None
    evaluate = evaluator_of(task) if task is not None else None
    if description is None or task is None or evaluate is None or requirement.data is None:
        what = "the model does not say that it classifies, detects or segments"
        raise RequestError(what, hint="compare by --min-sqnr, without --data")
    trained = trained_of(description.model)
    known = list(trained.classes) if trained is not None else None
    options = Options(list(requirement.labels) if requirement.labels is not None else known, requirement.limit)
    with open_model(path, Resolution.parse(description.resolution), description.preprocessing) as model:
        figures = evaluate(model, requirement.data, options, lambda done, total: None)
    value = figures[FIGURES[task]]
    if value is None:
        raise RequestError(f"{requirement.data} holds nothing to find, so there is no accuracy")
    return FIGURES[task], float(value)
