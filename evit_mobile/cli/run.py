"""``evit-mobile run``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np
from numpy.typing import NDArray

from evit_mobile.cli.options import force_option, json_option, print_json
from evit_mobile.errors import RequestError

if TYPE_CHECKING:
    from PIL import Image

    from converters.metadata import ModelDescription

Array = NDArray[Any]
TOP = 5


@click.command("run")
@click.argument("file", type=click.Path(path_type=Path), metavar="FILE.tflite")
@click.option("--image", "image_path", required=True, type=click.Path(path_type=Path), help="A photograph.")
@click.option("--out", type=click.Path(path_type=Path), help="Write boxes or mask, on what the model saw, to this PNG.")
@click.option("--threshold", type=click.FloatRange(0, 1), default=0.3, help="Detectors: the lowest score.  [default: 0.3]")
@click.option("--labels", type=click.Path(path_type=Path), help="Class names, one a line.  [default: those of the task's data set]")
@force_option
@json_option
def command(file: Path, image_path: Path, out: Path | None, threshold: float, labels: Path | None, force: bool, as_json: bool) -> None:
    """Run a .tflite on one image: five names, boxes, or a mask.

    \b
    evit-mobile run model.tflite --image dog.jpg
    evit-mobile run detector.tflite --image street.jpg --out boxes.png
    """
    from converters.metadata import read_description
    from evit_mobile.drawing import seen_image
    from evit_mobile.files import check_output, whole_file
    from evit_mobile.images import load_image
    from evit_mobile.specs import Resolution

    description = read_description(file)
    if description is None or description.task not in READERS:
        hint = "run takes what convert made of such a model"
        raise RequestError(f"{file} does not say that it classifies, detects or segments", hint=hint)
    if out is not None:
        check_output(out, force=force)
    pixels = load_image(image_path, Resolution.parse(description.resolution), description.preprocessing)
    outputs = _run(file, pixels)
    names = labels.read_text(encoding="utf-8").splitlines() if labels else None
    answer, picture = READERS[description.task](outputs, names, threshold, seen_image(pixels[0], description.preprocessing))
    if out is not None:
        with whole_file(out) as temporary:
            picture.save(temporary, format="PNG")
    document = {"model": description.model, "task": description.task, "resolution": description.resolution, "result": answer}
    if as_json:
        print_json({**document, "out": str(out) if out else None})
    else:
        _print(description, answer)


def _run(file: Path, pixels: Array) -> dict[str, Array]:
    """Outputs by name, as float where they are quantised, without the batch axis."""
    from evit_mobile.runtimes import RUNTIMES

    with RUNTIMES["litert"].open(file) as session:
        (image,) = session.inputs
        if image.scale:
            limits = np.iinfo(image.dtype)
            pixels = (pixels / image.scale[0] + image.zero_point[0]).round().clip(limits.min, limits.max)
        values = session.run([pixels.astype(image.dtype)])
        return {
            name: ((value.astype(np.float32) - info.zero_point[0]) * info.scale[0] if info.scale else value)[0]
            for name, info, value in zip(session.output_names(), session.outputs, values)
        }


def _named(names: list[str] | None, task: str, count: int) -> list[str]:
    from evit_mobile.models.labels import class_names

    if names is not None and len(names) != count:
        raise RequestError(f"--labels has {len(names)} names, the model {count} classes")
    return names or class_names(task, count)


def _classes(outputs: dict[str, Array], names: list[str] | None, threshold: float, seen: Image.Image) -> tuple[Any, Image.Image]:
    (logits,) = outputs.values()
    named = _named(names, "classification", len(logits))
    likely = np.exp(logits - logits.max())
    likely = likely / likely.sum()
    best = np.argsort(-likely, kind="stable")[:TOP]
    return [{"name": named[index], "index": int(index), "probability": float(likely[index])} for index in best], seen


def _boxes(outputs: dict[str, Array], names: list[str] | None, threshold: float, seen: Image.Image) -> tuple[Any, Image.Image]:
    from evit_mobile.boxes import select_boxes
    from evit_mobile.drawing import draw_boxes

    if not {"boxes", "scores"} <= outputs.keys():
        raise RequestError("the model gives raw heads, not boxes", hint="convert it without --raw-heads")
    named = _named(names, "detection", outputs["scores"].shape[-1])
    found = select_boxes(outputs["boxes"], outputs["scores"], threshold=threshold)
    answer = [
        {"name": named[index], "index": int(index), "score": float(score), "box": [round(float(value), 2) for value in box]}
        for box, score, index in zip(found.boxes, found.scores, found.classes)
    ]
    return answer, draw_boxes(seen, found, named)


def _mask(outputs: dict[str, Array], names: list[str] | None, threshold: float, seen: Image.Image) -> tuple[Any, Image.Image]:
    from evit_mobile.drawing import draw_mask

    ((name, values),) = outputs.items()
    classes = values.astype(np.int64) if name == "classes" else values.argmax(-1)
    # An argmax inside the graph has hidden how many classes there are.
    count = len(names or []) or 19 if name == "classes" else values.shape[-1]
    named = _named(names, "segmentation", max(count, int(classes.max()) + 1))
    shares = np.bincount(classes.ravel(), minlength=len(named)) / classes.size
    order = [int(index) for index in np.argsort(-shares, kind="stable") if shares[index]]
    return [{"name": named[index], "index": index, "share": float(shares[index])} for index in order], draw_mask(seen, classes)


READERS = {"classification": _classes, "detection": _boxes, "segmentation": _mask}


def _print(description: ModelDescription, answer: list[dict[str, Any]]) -> None:
    if not answer:
        click.echo("nothing found")
    for item in answer:
        figure = next(item[key] for key in ("probability", "score", "share") if key in item)
        box = item.get("box")
        place = f"  x {box[0]:.0f} to {box[2]:.0f}, y {box[1]:.0f} to {box[3]:.0f}" if box else ""
        click.echo(f"{100 * figure:5.1f} %  {item['name']}{place}")
    if description.weights_sha256 is None and description.onnx_sha256 is None and "+pretrained" not in description.model:
        click.echo("warning: the weights are random, the answer means nothing", err=True)
