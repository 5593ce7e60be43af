"""The form of one calibration input, and how pictures and arrays are brought into it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evit_mobile.arrays import Float32Array
from evit_mobile.card import HOW_TO_SAY_PIXELS
from evit_mobile.errors import RequestError
from evit_mobile.specs import Preprocessing, Resolution
from evit_mobile.tflite.file import Tflite
from evit_mobile.vision.images import normalise


@dataclass(frozen=True)
class InputFormat:
    """What the model takes: [1, height, width, channels], and how pictures become that; None where it is not known."""

    resolution: Resolution
    preprocessing: Preprocessing | None = Preprocessing()
    channels: int = 3

    @classmethod
    def of(cls, model: Tflite, preprocessing: Preprocessing | None) -> InputFormat:
        """What ``model`` takes, whose input is one image."""
        graph = model.graph
        _, height, width, channels = graph.tensors[graph.inputs[0]].shape
        return cls(Resolution(height, width), preprocessing, channels)

    @property
    def shape(self) -> tuple[int, int, int]:
        """[H, W, C] of one input."""
        return self.resolution.height, self.resolution.width, self.channels

    def prepare(self, value: NDArray[Any], name: str) -> Float32Array:
        """One input, [H, W, C] uint8 or floats, as [1, H, W, C] float32.

        Raises:
            RequestError: another shape or type, or values that are not finite, or a picture where it is not known how
                it becomes an input; ``name`` says of which input.
        """
        if value.shape != self.shape:
            raise RequestError(
                f"{name} has shape {list(value.shape)}, expected {list(self.shape)} (NHWC)",
                hint=_shape_hint(value.shape),
            )
        if value.dtype == np.uint8 and self.channels == 3:
            if self.preprocessing is None:
                raise unknown_pixels(name)
            return normalise(value[np.newaxis].astype(np.float32) / np.float32(255), self.preprocessing)
        if value.dtype.kind != "f":
            raise RequestError(f"{name} holds {value.dtype}, expected uint8 pictures or float32 model inputs")
        ready = value[np.newaxis].astype(np.float32)
        if not np.isfinite(ready).all():
            raise RequestError(f"{name} holds values that are not finite")
        return ready


def unknown_pixels(source: str) -> RequestError:
    """Why pictures of ``source`` cannot be calibrated on, and what to say."""
    problem = f"{source}: how a picture becomes the model's input is not known"
    return RequestError(problem, hint=HOW_TO_SAY_PIXELS)


def _shape_hint(shape: tuple[int, ...]) -> str | None:
    return (
        "is it NCHW? transpose it to NHWC"
        if len(shape) == 3 and shape[0] in (1, 3) and shape[2] not in (1, 3)
        else None
    )
