"""Accuracy of a .tflite on a folder of pictures with their answers: one module a task, each with the layouts that it
reads.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Iterator, Protocol, Sequence, TypeVar

from evit_mobile.vision.inference import ImageModel

Item = TypeVar("Item")
#: Called with the number of pictures done and the number of all.
Progress = Callable[[int, int], None]
#: Endings of pictures, in lower case.
PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".tif", ".tiff")


@dataclass(frozen=True)
class Options:
    """What is evaluated: ``names`` of the model's classes where the user gave some; of the pictures, ``limit`` spread
    evenly; all if None.

    ``annotations`` is a COCO file that is not where it is looked for.
    """

    names: list[str] | None = None
    limit: int | None = None
    annotations: Path | None = None


class Evaluator(Protocol):
    """``evaluate`` of a task's module: figures by name, as fractions of 1, and what is needed to read them.

    Raises:
        RequestError: the folder is not laid out as the task's module says, a picture cannot be read, or the model has
            other classes.
    """

    def __call__(self, model: ImageModel, folder: Path, options: Options, progress: Progress) -> dict[str, Any]: ...


def counted(items: Sequence[Item], progress: Progress) -> Iterator[Item]:
    """Each of ``items``; ``progress`` hears of each that is done."""
    for done, item in enumerate(items):
        yield item
        progress(done + 1, len(items))


def spread(items: Sequence[Item], limit: int | None) -> Sequence[Item]:
    """``limit`` of ``items``, spread evenly over them: a folder is sorted by class or by city."""
    if limit is None or limit >= len(items):
        return items
    return [items[index * len(items) // limit] for index in range(limit)]


def pictures_in(folder: Path) -> list[Path]:
    """Picture files of a folder, in order of their names; hidden ones left out."""
    return sorted(
        path for path in folder.iterdir() if path.suffix.lower() in PICTURES and not path.name.startswith(".")
    )
