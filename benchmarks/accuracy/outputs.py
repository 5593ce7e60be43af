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
    for expected, values in zip(reference, actual, strict=True):
        signal += float(np.sum(expected.astype(np.float64) ** 2))
        noise += float(np.sum((expected.astype(np.float64) - values) ** 2))
    return 10 * float(np.log10(signal / noise)) if noise else float("inf")


def answers(model: Path, images: Iterable[Array]) -> Array:
    """Logits [N, classes] in float32 by LiteRT with XNNPACK; models with quantised ends get and give them quantised."""
    with RUNTIMES["litert"].open(model) as session:
        into, out = session.inputs[0], session.outputs[0]
        return np.concatenate([out.dequantise(session.run([into.quantise(image)])[0]) for image in images])
