"""Top-1 and top-5 accuracy on one folder of pictures a class."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from evit_mobile.errors import RequestError
from evit_mobile.evaluation.base import Options, Progress, counted, pictures_in, spread
from evit_mobile.models.labels import IMAGENET_CLASSES, class_names, wordnet_ids
from evit_mobile.vision.images import open_image
from evit_mobile.vision.inference import ImageModel

TOP = 5
HINT = "expected DIR/CLASS/picture.jpg: one folder a class"


def evaluate(model: ImageModel, folder: Path, options: Options, progress: Progress) -> dict[str, Any]:
    """The share of pictures whose class is the model's best, ``top1``, and among its five best, ``top5``."""
    output = model.classes
    classes = class_folders(folder, output.count or 0, options.names)
    pictures = [(path, index) for name, index in classes.items() for path in pictures_in(folder / name)]
    if not pictures:
        raise RequestError(f"{folder} has no pictures in its folders", hint=HINT)
    chosen = spread(pictures, options.limit)
    ranks = []
    for path, index in counted(chosen, progress):
        outputs, _ = model.run(open_image(path))
        scores = outputs[output.name].ravel()
        # Stable, as a sort from the best down: of equal scores the lower class number comes first.
        ranks.append(int((scores > scores[index]).sum() + (scores[:index] == scores[index]).sum()))
    return {
        "images": len(chosen),
        "images_in_folder": len(pictures),
        "class_folders": len(classes),
        "top1": float(np.mean([rank < 1 for rank in ranks])),
        "top5": float(np.mean([rank < TOP for rank in ranks])),
    }


def class_folders(folder: Path, count: int, names: list[str] | None) -> dict[str, int]:
    """Folder name -> class number, for a model of ``count`` classes.

    Folders are named by class names, by class numbers or, of ImageNet, by WordNet ids. Where they are none of these and
    as many as the classes, the classes are theirs in order of their names, as in torchvision's ``ImageFolder``.

    Raises:
        RequestError: there are no folders, or some name no class.
    """
    if not folder.is_dir():
        raise RequestError(f"{folder} is no folder", hint=HINT)
    folders = sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not folders:
        raise RequestError(f"{folder} has no folders in it", hint=HINT)
    if names is not None and len(names) != count:
        raise RequestError(f"--labels has {len(names)} names, the model {count} classes")
    named = {name: index for index, name in enumerate(names or class_names("classification", count))}
    numbered = {str(index): index for index in range(count)}
    identified = {key: index for index, key in enumerate(wordnet_ids())} if count == IMAGENET_CLASSES else {}
    for known in (named, identified, numbered):
        if all(name in known for name in folders):
            return {name: known[name] for name in folders}
    if len(folders) == count and names is None:
        return {name: index for index, name in enumerate(folders)}
    strange = [name for name in folders if name not in named]
    names_of_none = ", ".join(strange[:3])
    of = f"{len(folders)} folders for {count} classes, and {len(strange)} of them name no class: {names_of_none}"
    hint = (
        "name them by class, by number, or (ImageNet) by WordNet id; --labels FILE gives the classes' names, one a line"
    )
    raise RequestError(f"{folder} has {of}", hint=hint)
