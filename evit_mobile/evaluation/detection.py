"""Average precision on COCO annotations, by pycocotools, which are COCO's own."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any

from evit_mobile.errors import RequestError
from evit_mobile.evaluation.base import Options, Progress, counted, spread
from evit_mobile.evaluation.coco import HINT, read_coco
from evit_mobile.models.labels import class_names
from evit_mobile.vision.images import open_image
from evit_mobile.vision.inference import ImageModel

#: What COCO counts: boxes of almost any score, at most 100 a picture.
THRESHOLD, MOST = 0.001, 100
#: Category of a class that the annotations do not know: what is found of it is not judged, as in COCO.
UNKNOWN = -1
#: Our names of the first nine of ``COCOeval.stats``; areas are in pixels: small below 32x32, large above 96x96.
FIGURES = ("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large", "ar_1", "ar_10", "ar_100")


def evaluate(model: ImageModel, folder: Path, options: Options, progress: Progress) -> dict[str, Any]:
    """``ap`` (over IoU 0.50 to 0.95), ``ap50``, ``ap75`` and so on; None where there is nothing to find."""
    if not folder.is_dir():
        raise RequestError(f"{folder} is no folder", hint=HINT)
    path = options.annotations or annotations_in(folder)
    truth = read_coco(path)
    categories = category_ids(truth, path, model.class_count, options.names)
    images = sorted(truth.imgs.values(), key=lambda image: image["id"])
    if not images:
        raise RequestError(f"{path} lists no images")
    place = _picture_folder(folder, path, images[0]["file_name"])
    chosen = spread(images, options.limit)
    records: list[dict[str, Any]] = []
    for image in counted(chosen, progress):
        outputs, placement = model.run(open_image(place / image["file_name"]))
        detections = model.boxes_in(outputs, placement, threshold=THRESHOLD, most=MOST)
        for (x0, y0, x1, y1), score, index in zip(detections.boxes.tolist(), detections.scores, detections.classes):
            box = [x0, y0, x1 - x0, y1 - y0]
            records.append(
                {"image_id": image["id"], "category_id": categories[int(index)], "bbox": box, "score": float(score)}
            )
    figures = _average_precision(truth, records, [image["id"] for image in chosen], categories)
    return {
        "images": len(chosen),
        "images_in_folder": len(images),
        "annotations": str(path),
        "detections": len(records),
        **figures,
    }


def annotations_in(folder: Path) -> Path:
    """The one COCO file of a folder.

    Raises:
        RequestError: there is none, or more than one.
    """
    paths = [
        path for place in (folder, folder / "annotations") if place.is_dir() for path in sorted(place.glob("*.json"))
    ]
    named = [path for path in paths if path.name.startswith("instances")] or paths
    if len(named) != 1:
        which = ", ".join(path.name for path in named[:4])
        what = f"{folder} has {len(named)} COCO files: {which}" if named else f"{folder} has no COCO file"
        raise RequestError(what, hint="choose by --annotations FILE" if named else HINT)
    return named[0]


def category_ids(truth: Any, path: Path, count: int, names: list[str] | None) -> list[int]:
    """Class number -> category id. Categories belong to classes by name where all have one, else by the order of their
    ids.

    Raises:
        RequestError: neither is possible.
    """
    ids = {category["name"]: category["id"] for category in truth.cats.values()}
    if names is not None and len(names) != count:
        raise RequestError(f"--labels has {len(names)} names, the model {count} classes")
    named = names or class_names("detection", count)
    if ids and ids.keys() <= set(named):
        return [ids.get(name, UNKNOWN) for name in named]
    if len(ids) != count:
        raise RequestError(
            f"{path} has {len(ids)} categories, the model {count} classes",
            hint="--labels FILE gives the classes' names",
        )
    return sorted(ids.values())


def _picture_folder(folder: Path, annotations: Path, name: str) -> Path:
    """Where the pictures are: judged by the first."""
    year = annotations.stem.removeprefix("instances_")
    places = (folder, folder / "images", folder / year, folder / "images" / year)
    for place in places:
        if (place / name).is_file():
            return place
    raise RequestError(f"{name} of {annotations} is in none of {', '.join(str(place) for place in places)}", hint=HINT)


def _average_precision(
    truth: Any, records: list[dict[str, Any]], image_ids: list[int], categories: list[int]
) -> dict[str, float | None]:
    from pycocotools.cocoeval import COCOeval

    known = [item for item in records if item["category_id"] in truth.cats]
    if not known:
        has_objects = any(not note.get("iscrowd") for note in truth.anns.values() if note["image_id"] in set(image_ids))
        return dict.fromkeys(FIGURES, 0.0 if has_objects else None)
    with contextlib.redirect_stdout(io.StringIO()):
        judge = COCOeval(truth, truth.loadRes(known), "bbox")
        judge.params.imgIds = image_ids
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    # pycocotools say -1 where there is nothing of that size to find.
    return {name: float(value) if value >= 0 else None for name, value in zip(FIGURES, judge.stats)}
