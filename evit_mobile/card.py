"""What a user says of a model that the model cannot say itself: how pixels become its input, what it is for, and what
its classes are called.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from evit_mobile.documents import read_text
from evit_mobile.errors import RequestError
from evit_mobile.specs import WHOLE_IMAGE, Preprocessing
from evit_mobile.text import visible

#: What a model of pictures can be for.
TASKS = ("classification", "detection", "segmentation")
#: Bounds on class names; the largest public list has 21,841.
MOST_LABELS, LONGEST_LABEL = 100_000, 200
#: A file of names that is larger is another file.
LARGEST_LABEL_FILE = 2**24
#: Said where a picture cannot be turned into an input.
HOW_TO_SAY_PIXELS = "--mean and --std as in training, of pixels in 0 to 1; --scale 255 where they are 0 to 255"
#: A deviation above so many times white is one of 0..255 that is given for 0..1.
_WIDEST_STD = 4

Triple = tuple[float, float, float]


class CardArguments(TypedDict, total=False):
    """The arguments of ``ModelCard.of``, as ``evit_mobile.convert`` takes them."""

    mean: float | Sequence[float] | None
    std: float | Sequence[float] | None
    scale: float | None
    task: str | None
    labels: Sequence[str] | str | Path | None
    classes: int | None


@dataclass(frozen=True)
class ModelCard:
    """What a user says of a model; a field that is None is left to the model, where it knows.

    Attributes:
        mean, std: of the red, green and blue pixels: the input is (pixel - ``mean``) / ``std``.
        scale: what a white pixel is before that: 1, or 255.
        task: one of ``TASKS``.
        labels: names of the classes, in order.
        classes: how many there are, for a model that is built with as many as wanted.
    """

    mean: Triple | None = None
    std: Triple | None = None
    scale: float | None = None
    task: str | None = None
    labels: tuple[str, ...] | None = None
    classes: int | None = None

    @classmethod
    def of(
        cls,
        mean: float | Sequence[float] | None = None,
        std: float | Sequence[float] | None = None,
        scale: float | None = None,
        task: str | None = None,
        labels: Sequence[str] | str | Path | None = None,
        classes: int | None = None,
    ) -> ModelCard:
        """Checked; ``mean`` and ``std`` may be one number for all channels, ``labels`` the path of a file of names.

        Raises:
            RequestError: values that no model of pictures has, or that contradict each other.
        """
        if task is not None and task not in TASKS:
            raise RequestError(f"there is no task {task!r}", hint=f"one of {', '.join(TASKS)}")
        if classes is not None and not 1 <= classes <= MOST_LABELS:
            raise RequestError(f"a model cannot have {classes} classes", hint=f"from 1 to {MOST_LABELS}")
        names = read_labels(Path(labels)) if isinstance(labels, (str, Path)) else labels
        if names is not None:
            names = tuple(checked_labels(names, "the labels"))
        if names is not None and classes is not None and len(names) != classes:
            raise RequestError(f"--labels has {len(names)} names, --classes says {classes}")
        card = cls(_triple(mean, "mean"), _triple(std, "std"), scale, task, names, classes)
        card._check_pixels()
        return card

    @property
    def knows_pixels(self) -> bool:
        """Whether it says how a pixel becomes an input."""
        return not (self.mean is None and self.std is None and self.scale is None)

    def preprocessing(self, own: Preprocessing | None, task: str | None) -> Preprocessing | None:
        """``own``, the model's, with these pixels; None where neither says any.

        How a picture is fitted to the input stays as in ``own``; where there is none, a classifier's is cropped, and
        for another ``task`` nothing is cut off.
        """
        if not self.knows_pixels:
            return own
        white = self.scale or 1.0
        mean, std = self.mean or (0.0, 0.0, 0.0), self.std or (1.0, 1.0, 1.0)
        fitted = own or (WHOLE_IMAGE if task in ("detection", "segmentation") else Preprocessing())
        return dataclasses.replace(
            fitted,
            mean=(mean[0] / white, mean[1] / white, mean[2] / white),
            std=(std[0] / white, std[1] / white, std[2] / white),
        )

    def _check_pixels(self) -> None:
        if (self.mean is None) is not (self.std is None):
            given, missing = ("--mean", "--std") if self.std is None else ("--std", "--mean")
            raise RequestError(f"{given} is given without {missing}", hint=HOW_TO_SAY_PIXELS)
        white = 1.0 if self.scale is None else self.scale
        if not (math.isfinite(white) and white > 0):
            raise RequestError(f"scale {white:g} is no value of a white pixel", hint="1, or 255")
        for value in self.mean or ():
            if value > white:
                raise RequestError(f"mean {value:g} is brighter than white, which is {white:g}", hint=HOW_TO_SAY_PIXELS)
        for value in self.std or ():
            if not 0 < value <= _WIDEST_STD * white:
                raise RequestError(
                    f"std {value:g} is out of range for pixels of 0 to {white:g}", hint=HOW_TO_SAY_PIXELS
                )
        try:
            self.preprocessing(None, self.task)
        except ValueError as error:
            raise RequestError(str(error), hint=HOW_TO_SAY_PIXELS) from error


def _triple(value: float | Sequence[float] | None, name: str) -> Triple | None:
    if value is None:
        return None
    values = [float(item) for item in ([value] if isinstance(value, (int, float)) else value)]
    if len(values) == 1:
        values *= 3
    if len(values) != 3 or not all(math.isfinite(item) for item in values):
        raise RequestError(f"{name} {value} is not three numbers", hint="one for each of red, green and blue")
    return values[0], values[1], values[2]


def read_labels(path: Path) -> list[str]:
    """Class names, one a line.

    Raises:
        RequestError: the file cannot be read as text, or a line is no name.
    """
    names = read_text(path, "labels file", LARGEST_LABEL_FILE).splitlines()
    while names and not names[-1].strip():
        names.pop()
    return checked_labels(names, f"labels {path}")


def checked_labels(names: Sequence[str], source: str) -> list[str]:
    """``names`` without the blanks around them; ``source`` is what an error calls them.

    Raises:
        RequestError: there are none or too many, or one is empty, too long or not printable.
    """
    stripped = [name.strip() for name in names]
    if not 1 <= len(stripped) <= MOST_LABELS:
        raise RequestError(f"{source} hold {len(stripped)} names", hint=f"from 1 to {MOST_LABELS}, one a line")
    for number, name in enumerate(stripped, 1):
        if not 1 <= len(name) <= LONGEST_LABEL or visible(name) != name:
            raise RequestError(
                f"{source}: name {number} is empty, longer than {LONGEST_LABEL} characters or not printable",
                hint="expected one name a line",
            )
    return stripped
