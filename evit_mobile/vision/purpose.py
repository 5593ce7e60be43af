"""What a .tflite is for and how pictures become its input: by its own word, and the user's where it has none."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from evit_mobile.card import HOW_TO_SAY_PIXELS, TASKS, ModelCard
from evit_mobile.errors import RequestError
from evit_mobile.models import trained_of
from evit_mobile.models.labels import class_names
from evit_mobile.specs import OutputLayout, Preprocessing, Resolution
from evit_mobile.tflite.description import ModelDescription
from evit_mobile.tflite.file import Tflite
from evit_mobile.tflite.graph import Graph

#: Ops that leave an output's values as they are.
_CARRIERS = frozenset({"QUANTIZE", "DEQUANTIZE", "RESHAPE", "TRANSPOSE"})
#: Ops whose results are probabilities already.
_PROBABILITIES = frozenset({"SOFTMAX", "LOGISTIC"})


@dataclass(frozen=True)
class Purpose:
    """What a file is for.

    Attributes:
        task: one of ``TASKS``.
        labels: names of the classes, where the file or the user gives them.
        planar: outputs of rank 4 are NCHW.
        probabilities: the output is a softmax or a sigmoid already, and no logits.
        signature: what to run, where the file has several.
    """

    description: ModelDescription
    task: str
    resolution: Resolution
    preprocessing: Preprocessing
    labels: list[str] | None
    planar: bool
    probabilities: bool
    signature: str | None = None

    def names(self, count: int) -> list[str]:
        """Names of ``count`` classes: the labels; else, unless it is a network of the user's own, those of the task's
        data set; else ``class 0`` and so on.

        Raises:
            RequestError: there are not as many labels.
        """
        if self.labels is not None and len(self.labels) != count:
            raise RequestError(f"--labels has {len(self.labels)} names, the model {count} classes")
        return self.labels or class_names("" if self.description.is_own_network else self.task, count)


def purpose_of(path: Path, card: ModelCard = ModelCard(), signature: str | None = None) -> Purpose:
    """What the .tflite at ``path`` is for; ``card`` is what the user says of it.

    ``signature`` says which of its resolutions is meant, where it has several.

    Raises:
        RequestError: neither says the task or how pictures become the input, or they contradict each other.
    """
    file = Tflite.read(path).at(signature)
    description = file.description
    if description is None:
        hint = "run and evaluate take what convert made of such a model"
        raise RequestError(f"{path} does not say that it classifies, detects or segments", hint=hint)
    if description.task in TASKS and card.task not in (None, description.task):
        raise RequestError(f"{path} is for {description.task}, not for {card.task}", hint="leave out --task")
    task = card.task or description.task
    if task not in TASKS:
        hint = f"--task {'|'.join(TASKS)} says it"
        raise RequestError(f"{path} does not say that it classifies, detects or segments", hint=hint)
    preprocessing = card.preprocessing(description.preprocessing, task)
    if preprocessing is None:
        raise RequestError(f"{path} does not say how a picture becomes its input", hint=HOW_TO_SAY_PIXELS)
    trained = trained_of(description.model)
    known = description.labels or (trained.classes if trained is not None else None)
    return Purpose(
        description,
        task,
        _picture_size(path, file.graph),
        preprocessing,
        list(card.labels or known or ()) or None,
        description.output_layout is OutputLayout.NCHW,
        _gives_probabilities(file.graph),
        signature,
    )


def _picture_size(path: Path, graph: Graph) -> Resolution:
    shapes = [graph.tensors[index].shape for index in graph.inputs]
    if len(shapes) != 1 or len(shapes[0]) != 4 or shapes[0][0] != 1 or shapes[0][3] != 3:
        inputs = ", ".join(str(list(shape)) for shape in shapes)
        raise RequestError(f"{path} takes {inputs}, not one picture [1, H, W, 3]")
    return Resolution(*shapes[0][1:3])


def _gives_probabilities(graph: Graph) -> bool:
    producers = {tensor: op for op in graph.ops for tensor in op.outputs}
    op = producers.get(graph.outputs[0])
    while op is not None and op.type in _CARRIERS:
        op = producers.get(op.inputs[0])
    return op is not None and op.type in _PROBABILITIES
