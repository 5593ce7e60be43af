"""A .tflite and images: from an RGB image to named outputs, and from those to classes, boxes and masks in the image's
own pixels.
"""

from __future__ import annotations

import contextlib
import functools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Iterator

import numpy as np
from numpy.typing import NDArray

from evit_mobile.arrays import Array
from evit_mobile.errors import RequestError
from evit_mobile.models.labels import data_set_names
from evit_mobile.runtimes import RUNTIMES, Session
from evit_mobile.specs import Resolution
from evit_mobile.tflite.classes import SELECTED, ClassOutput, class_output, detection_outputs
from evit_mobile.vision.boxes import Detections, select_boxes
from evit_mobile.vision.images import Placement, to_input
from evit_mobile.vision.purpose import Purpose

if TYPE_CHECKING:
    from PIL import Image

#: Of a mask's places that the model did not see.
UNSEEN = -1


@dataclass(frozen=True)
class ImageModel:
    """A loaded .tflite that takes one image."""

    session: Session
    purpose: Purpose

    @property
    def resolution(self) -> Resolution:
        return self.purpose.resolution

    def run(self, image: Image.Image) -> tuple[dict[str, Array], Placement]:
        """Outputs by name, without the batch axis, channels last, in float; and where the image lay in the input."""
        pixels, placement = to_input(image, self.resolution, self.purpose.preprocessing)
        (info,) = self.session.inputs
        values = self.session.run([info.quantise(pixels)])
        names = self.session.output_names()
        return {
            name: self._channels_last(output.dequantise(value))[0]
            for name, output, value in zip(names, self.session.outputs, values)
        }, placement

    @functools.cached_property
    def classes(self) -> ClassOutput:
        """The output that holds the classes.

        Raises:
            RequestError: no output is what a model for this task gives.
        """
        shapes = self._shapes()
        output = class_output(self.purpose.task, shapes, channels_last=not self.purpose.planar)
        if output is None:
            gives = ", ".join(f"{name} {list(shape)}" for name, shape in shapes.items())
            hint = "convert it without --raw-heads" if self.purpose.description.model.endswith("raw-heads") else None
            raise RequestError(f"the model gives {gives}, which is no answer for {self.purpose.task}", hint=hint)
        return output

    @property
    def class_count(self) -> int:
        """How many classes there are: by the output that holds them, else by their names."""
        known = self.classes.count or len(self.purpose.labels or ())
        return known or len(data_set_names(self.purpose.task, None) or ())

    def boxes_in(
        self, outputs: dict[str, Array], placement: Placement, *, threshold: float, most: int = 100
    ) -> Detections:
        """A detector's boxes in pixels of the image; see ``select_boxes``."""
        if self.classes.name == SELECTED[1]:
            return self._selected(outputs, placement, threshold, most)
        scores = self.classes.name
        (boxes,) = (name for name in detection_outputs(self._shapes()) or () if name != scores)
        selected = select_boxes(outputs[boxes], outputs[scores], threshold=threshold, most=most)
        return Detections(placement.boxes_in_image(selected.boxes), selected.scores, selected.classes)

    def _selected(self, outputs: dict[str, Array], placement: Placement, threshold: float, most: int) -> Detections:
        """Boxes of a file that has selected them itself."""
        boxes, classes, scores, count = (outputs[name] for name in SELECTED)
        found = min(int(count), most)
        good = np.flatnonzero(scores[:found] >= threshold)
        side = (self.resolution.width, self.resolution.height)
        corners = boxes[good][:, [1, 0, 3, 2]] * np.array(side * 2, np.float32)
        return Detections(placement.boxes_in_image(corners), scores[good], classes[good].astype(np.int64))

    def _shapes(self) -> dict[str, tuple[int, ...]]:
        return dict(zip(self.session.output_names(), (info.shape for info in self.session.outputs)))

    def _channels_last(self, value: Array) -> Array:
        return np.moveaxis(value, 1, -1) if self.purpose.planar and value.ndim == 4 else value


@contextlib.contextmanager
def open_model(file: Path, purpose: Purpose, *, threads: int = 1) -> Iterator[ImageModel]:
    """The .tflite ``file`` in LiteRT, with XNNPACK."""
    with RUNTIMES["litert"].open(file, threads=threads, signature=purpose.signature) as session:
        yield ImageModel(session, purpose)


def mask_in(outputs: dict[str, Array], placement: Placement, resolution: Resolution) -> NDArray[np.int64]:
    """A segmenter's class of every pixel of the image, [H, W]; UNSEEN where the image was cropped away.

    Logits [h, w, classes] are enlarged bilinearly to the input's size and then to the image's, as evaluations do; class
    numbers [h, w] by repetition.
    """
    (values,) = outputs.values()
    mask = np.full((placement.image_height, placement.image_width), UNSEEN, np.int64)
    x0, y0 = max(0, placement.left), max(0, placement.top)
    x1, y1 = (
        min(resolution.width, placement.left + placement.width),
        min(resolution.height, placement.top + placement.height),
    )
    corners = placement.boxes_in_image(np.array([[x0, y0, x1, y1]], np.float32))[0].round().astype(int)
    inside = (slice(y0, y1), slice(x0, x1))
    size = (int(corners[3] - corners[1]), int(corners[2] - corners[0]))
    part = (
        _enlarged_classes(values, resolution, inside, size)
        if values.ndim == 2
        else _enlarged_logits(values, resolution, inside, size)
    )
    mask[corners[1] : corners[3], corners[0] : corners[2]] = part
    return mask


def _enlarged_logits(
    values: Array, resolution: Resolution, inside: tuple[slice, slice], size: tuple[int, int]
) -> Array:
    """[h, w, classes] -> the classes of the part ``inside`` the input, at ``size``."""
    import torch
    from torch.nn import functional as F

    maps = torch.from_numpy(np.ascontiguousarray(values, np.float32)).permute(2, 0, 1)[None]
    for target, part in (((resolution.height, resolution.width), inside), (size, (slice(None), slice(None)))):
        if tuple(maps.shape[2:]) != target:
            maps = F.interpolate(maps, target, mode="bilinear", align_corners=False)
        maps = maps[:, :, part[0], part[1]]
    classes: Array = maps[0].argmax(0).numpy()
    return classes


def _enlarged_classes(
    values: Array, resolution: Resolution, inside: tuple[slice, slice], size: tuple[int, int]
) -> Array:
    """[h, w] -> the part ``inside`` the input, at ``size``: each place takes the class of the cell that it lies in."""
    rows, columns = (
        part.start + (np.arange(count) + 0.5) * (part.stop - part.start) / count
        for part, count in zip(inside, size, strict=True)
    )
    y = (rows * values.shape[0] / resolution.height).astype(int)
    x = (columns * values.shape[1] / resolution.width).astype(int)
    classes: Array = values.astype(np.int64)[y[:, np.newaxis], x]
    return classes
