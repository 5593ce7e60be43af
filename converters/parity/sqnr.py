"""SQNR of files that are made of one model: the power of the reference over that of the difference."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from evit_mobile.arrays import Array
from evit_mobile.runtimes import Runtime

#: The outputs of one inference by name.
Outputs = dict[str, Array]


def outputs_of(path: Path, runtime: Runtime, inputs: Sequence[Sequence[Array]]) -> list[Outputs]:
    """The outputs of each of ``inputs``, dequantised; an input is an array for each of the model's, in the file's
    layout, in float where the file's own is quantised.
    """
    outputs = []
    with runtime.open(path) as session:
        names = session.output_names()
        for values in inputs:
            quantised = [info.quantise(value) for info, value in zip(session.inputs, values, strict=True)]
            results = zip(names, session.outputs, session.run(quantised))
            outputs.append({name: info.dequantise(value) for name, info, value in results})
    return outputs


def worst_sqnr_db(reference: Sequence[Outputs], actual: Sequence[Outputs]) -> float | None:
    """SQNR of the worst output over all inputs together, in dB; infinite where there is no difference, None where no
    output is a float or the reference is zero.
    """
    worst = None
    for name in reference[0]:
        if reference[0][name].dtype.kind != "f":
            continue
        expected = np.concatenate([outputs[name].reshape(-1) for outputs in reference]).astype(np.float64)
        computed = np.concatenate([outputs[name].reshape(-1) for outputs in actual]).astype(np.float64)
        signal, noise = float(np.sum(expected**2)), float(np.sum((computed - expected) ** 2))
        if not signal:
            continue
        if not math.isfinite(noise):
            return -math.inf
        value = 10 * math.log10(signal / noise) if noise else math.inf
        worst = value if worst is None else min(worst, value)
    return worst
