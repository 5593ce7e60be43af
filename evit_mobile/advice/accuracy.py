"""Accuracy of a file on pictures whose answers are known."""

from __future__ import annotations

from pathlib import Path

from evit_mobile.advice.choice import Requirement
from evit_mobile.errors import RequestError

#: What stands for the accuracy of a task.
FIGURES = {"classification": "top1", "detection": "ap", "segmentation": "miou"}


def accuracy_of(path: Path, requirement: Requirement) -> tuple[str, float]:
    """Name and value, from 0 to 1, of a file's accuracy on the data that are required.

    Raises:
        RequestError: it is not known what the model is for or how pictures become its input, or the data do not fit it.
    """
    from evit_mobile.card import ModelCard
    from evit_mobile.evaluation import evaluator_of
    from evit_mobile.evaluation.base import Options
    from evit_mobile.vision.inference import open_model
    from evit_mobile.vision.purpose import purpose_of

    if requirement.data is None:
        raise RequestError("an accuracy needs pictures with answers", hint="name their folder by --data")
    purpose = purpose_of(path, ModelCard.of(labels=requirement.labels))
    with open_model(path, purpose) as model:
        figures = evaluator_of(purpose.task)(
            model, requirement.data, Options(purpose.labels, requirement.limit), lambda done, total: None
        )
    value = figures[FIGURES[purpose.task]]
    if value is None:
        raise RequestError(f"{requirement.data} holds nothing to find, so there is no accuracy")
    return FIGURES[purpose.task], float(value)
