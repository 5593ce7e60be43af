"""Outputs of models in any precision, and how far apart they are."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from evit_mobile.runtimes import RUNTIMES
from evit_mobile.runtimes.session import Array


def sqnr_db(reference: Iterable[Array], actual: Iterable[Array]) -> float:
    """10 log10 of the reference's power over the difference's, over all arrays together."""
    signal = noise = 0.0
    for wanted, given in zip(reference, actual, strict=True):
        signal += float(np.sum(wanted.astype(np.float64) ** 2))
        noise += float(np.sum((wanted.astype(np.float64) - given) ** 2))
    return 10 * float(np.log10(signal / noise)) if noise else float("inf")


def answers(model: Path, images: Iterable[Array]) -> Array:
    """Logits [N, classes] in float32 by LiteRT with XNNPACK; models with quantised ends get and give them quantised."""
    with RUNTIMES["litert"].open(model) as session:
        into, out = session.inputs[0], session.outputs[0]
        rows = []
        for image in images:
            if into.scale:
                bounds = np.iinfo(into.dtype)
                image = np.clip(np.round(image / into.scale[0]) + into.zero_point[0], bounds.min, bounds.max).astype(into.dtype)
            [logits] = session.run([image])
            rows.append((logits.astype(np.float32) - out.zero_point[0]) * out.scale[0] if out.scale else logits)
    return np.concatenate(rows)
