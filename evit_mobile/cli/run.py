"""``evit-mobile run``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from evit_mobile.cli.options import (
    FiniteRange,
    card_of,
    card_options,
    force_option,
    json_option,
    one_signature_option,
    print_json,
)

if TYPE_CHECKING:
    from PIL import Image

    from evit_mobile.arrays import Array
    from evit_mobile.tflite.description import ModelDescription
    from evit_mobile.vision.inference import ImageModel

TOP = 5


@dataclass(frozen=True)
class _Options:
    """The options of ``run``, named as click names them."""

    image_path: Path
    out: Path | None
    threshold: float
    force: bool


@click.command("run")
@click.argument("file", type=click.Path(path_type=Path), metavar="FILE.tflite")
@click.option("--image", "image_path", required=True, type=click.Path(path_type=Path), help="A photograph.")
@click.option(
    "--out", type=click.Path(path_type=Path), help="Write the photograph with the boxes or the mask on it to this PNG."
)
@click.option("--threshold", type=FiniteRange(0, 1), default=0.3, help="Detectors: the lowest score.  [default: 0.3]")
@one_signature_option
@card_options
@force_option
@json_option
def command(file: Path, signature: str | None, as_json: bool, **values: Any) -> None:
    """Run a .tflite on one image: five names, boxes, or a mask.

    \b
    evit-mobile run model.tflite --image dog.jpg
    evit-mobile run model.tflite --signature r288 --image dog.jpg
    evit-mobile run detector.tflite --image street.jpg --out boxes.png
    """
    from evit_mobile.files import check_output, whole_file
    from evit_mobile.vision.images import open_image
    from evit_mobile.vision.inference import open_model
    from evit_mobile.vision.purpose import purpose_of

    labels, card = values["labels"], card_of(values)
    options = _Options(**values)
    out, purpose = options.out, purpose_of(file, card, signature)
    description = purpose.description
    if out is not None:
        check_output(out, force=options.force, inputs=(file, options.image_path, labels))
    photo = open_image(options.image_path)
    with open_model(file, purpose) as model:
        answer, picture = READERS[purpose.task](model, photo, options.threshold)
    if out is not None:
        with whole_file(out) as temporary:
            picture.save(temporary, format="PNG")
    document = {
        "model": description.model,
        "task": purpose.task,
        "resolution": description.resolution,
        "result": answer,
    }
    if as_json:
        print_json({**document, "out": str(out) if out else None})
    else:
        _print(description, answer)


def _classes(model: ImageModel, photo: Image.Image, threshold: float) -> tuple[Any, Image.Image]:
    outputs, _ = model.run(photo)
    scores = outputs[model.classes.name].ravel()
    named = model.purpose.names(len(scores))
    likely = scores if model.purpose.probabilities else _softmax(scores)
    best = np.argsort(-likely, kind="stable")[:TOP]
    return [{"name": named[index], "index": int(index), "probability": float(likely[index])} for index in best], photo


def _softmax(logits: Array) -> Array:
    powers = np.exp(logits - logits.max())
    likely: Array = powers / powers.sum()
    return likely


def _boxes(model: ImageModel, photo: Image.Image, threshold: float) -> tuple[Any, Image.Image]:
    from evit_mobile.vision.drawing import draw_boxes

    named = model.purpose.names(model.class_count)
    detections = model.boxes_in(*model.run(photo), threshold=threshold)
    answer = [
        {
            "name": named[index],
            "index": int(index),
            "score": float(score),
            "box": [round(float(value), 2) for value in box],
        }
        for box, score, index in zip(detections.boxes, detections.scores, detections.classes)
    ]
    return answer, draw_boxes(photo, detections, named)


def _mask(model: ImageModel, photo: Image.Image, threshold: float) -> tuple[Any, Image.Image]:
    from evit_mobile.vision.drawing import draw_mask
    from evit_mobile.vision.inference import mask_in

    outputs, placement = model.run(photo)
    classes = mask_in(outputs, placement, model.resolution)
    known = classes[classes >= 0]
    # An argmax inside the graph has hidden how many classes there are.
    named = model.purpose.names(max(model.class_count, int(known.max()) + 1))
    shares = np.bincount(known, minlength=len(named)) / known.size
    order = [int(index) for index in np.argsort(-shares, kind="stable") if shares[index]]
    return [{"name": named[index], "index": index, "share": float(shares[index])} for index in order], draw_mask(
        photo, classes
    )


READERS = {"classification": _classes, "detection": _boxes, "segmentation": _mask}


def _print(description: ModelDescription, answer: list[dict[str, Any]]) -> None:
    if not answer:
        click.echo("nothing found")
    for item in answer:
        figure = next(item[key] for key in ("probability", "score", "share") if key in item)
        box = item.get("box")
        place = f"  x {box[0]:.0f} to {box[2]:.0f}, y {box[1]:.0f} to {box[3]:.0f}" if box else ""
        click.echo(f"{100 * figure:5.1f} %  {item['name']}{place}")
    if not description.has_trained_weights:
        click.echo("warning: the weights are random, the answer means nothing", err=True)
