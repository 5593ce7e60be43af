"""What a user says of a network's inputs, and which exporter is to read it."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from converters.source.torch_export import Exporter
from evit_mobile.errors import RequestError

#: As of the ONNX gate: 1 GB of float32.
_MAX_ELEMENTS = 2**28


@dataclass(frozen=True)
class InputRequest:
    """Shapes by input name, in the order of the network's arguments; channels of the one image, where no shapes are given."""

    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    channels: int | None = None
    exporter: Exporter = Exporter.AUTO


def parse_shapes(texts: Iterable[str]) -> dict[str, tuple[int, ...]]:
    """Read ``name:1x3x224x224``, one text an input.

    Raises:
        RequestError: a text is not of that form, a size is out of range, or a name comes twice.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for text in texts:
        name, _, sizes = text.rpartition(":")
        if not name or re.fullmatch(r"\d{1,9}(x\d{1,9}){0,7}", sizes) is None:
            raise RequestError(
                f"input shape {text!r} cannot be read", hint="write NAME:SIZExSIZE…, e.g. image:1x3x224x224"
            )
        shape = tuple(int(size) for size in sizes.split("x"))
        elements = math.prod(shape)
        if not 1 <= elements <= _MAX_ELEMENTS:
            raise RequestError(f"input shape {text} has {elements} elements", hint=f"from 1 to {_MAX_ELEMENTS}")
        if name in shapes:
            raise RequestError(f"input {name} is given two shapes")
        shapes[name] = shape
    return shapes
