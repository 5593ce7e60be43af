"""COCO's instances JSON, read through a gate of its own: what is not of its form is refused with the field's name."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from evit_mobile.documents import first_fault, read_limited
from evit_mobile.errors import RequestError

HINT = (
    "expected COCO's instances JSON in DIR or DIR/annotations, "
    "and its pictures in DIR, DIR/images or a folder named by the JSON"
)
#: Bytes: COCO's largest, of the training pictures of 2017, has 470 million.
LARGEST_FILE = 2**30


def _inside(name: str) -> str:
    """A picture's name that leads nowhere but below the pictures' folder."""
    path = PurePosixPath(name)
    if "\0" in name or path.is_absolute() or ".." in path.parts:
        raise ValueError("it leads out of the pictures' folder")
    return name


Id = Annotated[int, Field(ge=-(2**62), le=2**62)]
Pixels = Annotated[float, Field(ge=-1e9, le=1e9, allow_inf_nan=False)]
Area = Annotated[float, Field(ge=0, le=1e18, allow_inf_nan=False)]


class _Entry(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class Image(_Entry):
    """A picture."""

    id: Id
    file_name: Annotated[str, Field(min_length=1, max_length=4096), AfterValidator(_inside)]


class Category(_Entry):
    """A class of objects."""

    id: Id
    name: str


class Annotation(_Entry):
    """An object: ``bbox`` is left, top, width and height in pixels. ``area`` is theirs where a home-made file leaves it
    out.
    """

    image_id: Id
    category_id: Id
    bbox: tuple[Pixels, Pixels, Pixels, Pixels]
    area: Area | None = None
    iscrowd: Annotated[int, Field(ge=0, le=1)] = 0


class Instances(_Entry):
    """The whole file, as far as boxes are concerned."""

    images: tuple[Image, ...]
    annotations: tuple[Annotation, ...]
    categories: tuple[Category, ...]


def read_coco(path: Path) -> Any:
    """The file as pycocotools keep it (``COCO``), its annotations counted from 1: COCOeval takes one whose id is 0 for
    unmatched.

    Raises:
        RequestError: pycocotools are missing, or the file cannot be read or is not of this form.
    """
    try:
        from pycocotools.coco import COCO
    except ImportError as error:
        raise RequestError("average precision needs pycocotools", hint="pip install 'evit-mobile[evaluate]'") from error
    content = read_limited(path, "COCO file", LARGEST_FILE)
    try:
        instances = Instances.model_validate_json(content)
    except ValidationError as error:
        raise RequestError(f"{path} is no COCO instances file: {first_fault(error)}", hint=HINT) from error
    images, categories = {image.id for image in instances.images}, {item.id for item in instances.categories}
    for number, note in enumerate(instances.annotations):
        if note.category_id not in categories or note.image_id not in images:
            what = "is of a category or an image that is not in the file"
            raise RequestError(f"{path} is no COCO instances file: annotations.{number} {what}", hint=HINT)
    document = instances.model_dump()
    for number, entry in enumerate(document["annotations"], 1):
        entry["id"], entry["bbox"] = number, list(entry["bbox"])  # pycocotools take lists alone
        if entry["area"] is None:
            entry["area"] = entry["bbox"][2] * entry["bbox"][3]
    truth = COCO()
    truth.dataset = document
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
    return truth
