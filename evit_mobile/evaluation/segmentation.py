"""Mean intersection over union on masks, laid out as Cityscapes are or simply as pictures beside masks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evit_mobile.arrays import Array
from evit_mobile.errors import RequestError
from evit_mobile.evaluation.base import Options, Progress, counted, pictures_in, spread
from evit_mobile.models.labels import class_names
from evit_mobile.tflite.classes import ClassOutput
from evit_mobile.vision.images import open_image
from evit_mobile.vision.inference import ImageModel, mask_in

#: In a mask: this pixel is not judged.
IGNORED = 255
#: Cityscapes' own label numbers of the 19 classes that it evaluates, by class number (the label table of
#: cityscapesScripts).
CITYSCAPES_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
IMAGE_SUFFIX, TRAIN_SUFFIX, LABEL_SUFFIX = "_leftImg8bit", "_gtFine_labelTrainIds.png", "_gtFine_labelIds.png"
HINT = (
    "expected DIR/leftImg8bit/val/CITY and DIR/gtFine/val/CITY as of Cityscapes, "
    "or DIR/images and DIR/masks with files named alike"
)


def evaluate(model: ImageModel, folder: Path, options: Options, progress: Progress) -> dict[str, Any]:
    """``miou``: the mean over classes that occur, in masks or answers, of intersection over union of all pictures'
    pixels together.
    """
    pairs = pairs_in(folder)
    names = _names(model.classes, options.names)
    chosen = spread(pairs, options.limit)
    confusion = np.zeros((len(names), len(names)), np.int64)
    for picture, mask_path in counted(chosen, progress):
        expected = read_mask(mask_path, len(names))
        outputs, placement = model.run(open_image(picture))
        predicted = mask_in(outputs, placement, model.resolution)
        if predicted.shape != expected.shape:
            raise RequestError(f"mask {mask_path} is {_size(expected)}, its picture {_size(predicted)}")
        if predicted.max() >= len(names):
            raise RequestError(
                f"the model gives class {predicted.max()}, and {len(names)} are known",
                hint="--labels FILE names them all",
            )
        judged = (expected != IGNORED) & (predicted >= 0)
        confusion += np.bincount(expected[judged] * len(names) + predicted[judged], minlength=len(names) ** 2).reshape(
            confusion.shape
        )
    return {"images": len(chosen), "images_in_folder": len(pairs), **figures(confusion, names)}


def figures(confusion: Array, names: list[str]) -> dict[str, Any]:
    """From pixels by [true class, given class]: ``miou``, ``pixel_accuracy``, and ``iou`` by class, None where it does
    not occur.
    """
    common = np.diag(confusion)
    union = confusion.sum(0) + confusion.sum(1) - common
    ious = [int(hit) / int(of) if of else None for hit, of in zip(common, union)]
    occurring = [iou for iou in ious if iou is not None]
    if not occurring:
        raise RequestError("the masks have no pixel that is judged", hint=f"{IGNORED} means: not judged")
    return {
        "miou": float(np.mean(occurring)),
        "pixel_accuracy": float(common.sum() / confusion.sum()),
        "iou": dict(zip(names, ious)),
    }


def pairs_in(folder: Path) -> list[tuple[Path, Path]]:
    """Pictures and their masks.

    Raises:
        RequestError: the folder is laid out otherwise, or a picture has no mask.
    """
    if not folder.is_dir():
        raise RequestError(f"{folder} is no folder", hint=HINT)
    if (folder / "leftImg8bit").is_dir():
        split = next(
            (folder / "leftImg8bit" / name for name in ("val", ".") if (folder / "leftImg8bit" / name).is_dir())
        )
        pictures = sorted(split.rglob(f"*{IMAGE_SUFFIX}.png"))
        pairs = [(picture, _cityscapes_mask(folder, picture)) for picture in pictures]
    elif (folder / "images").is_dir() and (folder / "masks").is_dir():
        pairs = [(picture, folder / "masks" / f"{picture.stem}.png") for picture in pictures_in(folder / "images")]
    else:
        raise RequestError(f"{folder} has neither leftImg8bit nor images and masks", hint=HINT)
    if not pairs:
        raise RequestError(f"{folder} has no pictures", hint=HINT)
    without = [picture for picture, mask in pairs if not mask.is_file()]
    if without:
        raise RequestError(f"{len(without)} of {len(pairs)} pictures have no mask, first {without[0]}", hint=HINT)
    return pairs


def _cityscapes_mask(folder: Path, picture: Path) -> Path:
    place = folder / "gtFine" / picture.relative_to(folder / "leftImg8bit").parent
    stem = picture.stem.removesuffix(IMAGE_SUFFIX)
    trained = place / f"{stem}{TRAIN_SUFFIX}"
    return trained if trained.is_file() else place / f"{stem}{LABEL_SUFFIX}"


def read_mask(path: Path, classes: int) -> NDArray[np.int64]:
    """A mask's class numbers [H, W]; IGNORED where it says so, or where Cityscapes has a label that it does not
    evaluate.

    Raises:
        RequestError: the file is no picture of one channel, or holds a number that is no class.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as file:
            values = np.asarray(file)
    except (OSError, ValueError, SyntaxError, UnidentifiedImageError) as error:
        raise RequestError(f"mask {path} cannot be read: {error}") from error
    if values.ndim != 2:
        raise RequestError(f"mask {path} has {values.shape[-1]} channels, expected one that holds class numbers")
    numbers = values.astype(np.int64)
    if path.name.endswith(LABEL_SUFFIX):
        table = np.full(256, IGNORED)
        table[list(CITYSCAPES_IDS)] = range(len(CITYSCAPES_IDS))
        numbers = table[numbers.clip(0, 255)]
    strange = numbers[(numbers >= classes) & (numbers != IGNORED)]
    if strange.size:
        raise RequestError(
            f"mask {path} holds class {strange[0]}, the model has {classes}", hint=f"{IGNORED} means: not judged"
        )
    return numbers


def _names(output: ClassOutput, names: list[str] | None) -> list[str]:
    """Of the model's classes; an argmax inside the graph has hidden how many there are: Cityscapes' then, unless names
    are given.
    """
    count = output.count
    if count is None:
        return names or class_names("segmentation", len(CITYSCAPES_IDS))
    if names is not None and len(names) != count:
        raise RequestError(f"--labels has {len(names)} names, the model {count} classes")
    return names or class_names("segmentation", count)


def _size(mask: Array) -> str:
    return f"{mask.shape[0]}x{mask.shape[1]}"
