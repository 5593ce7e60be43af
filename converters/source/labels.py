"""The names of a network's classes, and the output that they belong to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from evit_mobile.errors import RequestError
from evit_mobile.models import trained_of
from evit_mobile.models.labels import data_set_names
from evit_mobile.specs import ModelName
from evit_mobile.tflite.classes import SELECTED, class_output

if TYPE_CHECKING:
    import onnx

    from converters.source.load import Source


@dataclass(frozen=True)
class Labels:
    """``names`` of the classes along the last axis of the output called ``output``; ``by_value``, of its numbers."""

    output: str
    names: list[str]
    by_value: bool = False


def labels_of(source: Source, stock: onnx.ModelProto) -> Labels | None:
    """The names of the classes of ``source``, whose exported graph is ``stock``; None where they are not known.

    Raises:
        RequestError: the outputs are not those of its task, or it has another number of classes than names.
    """
    shapes = {
        value.name: tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim) for value in stock.graph.output
    }
    output = class_output(source.task, shapes, channels_last=source.channels_last)
    is_own = source.from_module or not ModelName.parse(source.name).is_counted
    if output is None:
        if is_own and source.task is not None:
            raise RequestError(
                f"{source.name} is no network for {source.task}: its outputs are {_listed(shapes)}",
                hint=_EXPECTED[source.task],
            )
        if source.labels is not None:
            raise RequestError(f"{source.name} has no output of classes", hint="leave out --labels, or say --task")
        return None
    names = source.labels
    if names is not None and output.count is not None and len(names) != output.count:
        raise RequestError(f"--labels has {len(names)} names, the model {output.count} classes")
    if names is None and not is_own:
        trained = trained_of(source.name)
        known = trained.classes if trained is not None else data_set_names(source.task, output.count)
        names = tuple(known) if known is not None else None
    if names is None:
        if source.ends.nms:
            problem = (
                f"{source.name}: the names of its classes are not known, and the file will not say how many there are"
            )
            raise RequestError(problem, hint="--labels FILE, one a line")
        return None
    if source.ends.nms:
        return Labels(SELECTED[1], list(names), by_value=True)
    return Labels(output.name, list(names), by_value=output.count is None)


#: What a network for a task gives.
_EXPECTED = {
    "classification": "expected one output, [1, classes]",
    "segmentation": "expected one output, [1, classes, H, W] or the class numbers [1, H, W]",
    "detection": "expected boxes [1, M, 4] and scores [1, M, classes]",
}


def _listed(shapes: dict[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{name} {list(shape)}" for name, shape in shapes.items())
