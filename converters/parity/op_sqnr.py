"""SQNR op by op: the results that two files of one network have in common, beside each other."""

from __future__ import annotations

import numpy as np

from converters.parity.activations import tflite_values
from converters.parity.stimuli import bundled_photograph
from evit_mobile.arrays import Array
from evit_mobile.errors import RequestError
from evit_mobile.runtimes.inputs import random_input
from evit_mobile.specs import Resolution
from evit_mobile.tflite.file import Tflite
from evit_mobile.tflite.graph import Graph
from evit_mobile.vision.images import load_image


def op_sqnr_db(model: Tflite, against: Tflite) -> dict[int, float]:
    """The power of a result in ``against`` over that of its difference in ``model``, in dB, by op index of ``model``.

    Both run on one photograph (where an input is no picture: on noise) with TFLite's own kernels. A result is in both
    where it has one name and one shape; one without any difference is left out, since its SQNR is infinite.

    Raises:
        RequestError: LiteRT cannot run a file, or they have nothing in common.
    """
    known = _results(against)
    names = {op.index: model.graph.tensors[op.outputs[0]].name for op in model.graph.ops if op.outputs}
    found, in_common = {}, 0
    values = _results(model)
    for index, name in names.items():
        expected, actual = known.get(name), values.get(name)
        if expected is None or actual is None or expected.shape != actual.shape:
            continue
        in_common += 1
        signal, noise = float(np.sum(expected**2)), float(np.sum((actual - expected) ** 2))
        if signal and noise:
            found[index] = 10 * float(np.log10(signal / noise))
    if not in_common:
        raise RequestError(
            f"{model.name} and {against.name} have no result of one name and shape",
            hint="convert the same model to both, with the same resolution",
        )
    return found


def _results(model: Tflite) -> dict[str, Array]:
    """Every computed tensor by its name, in float64."""
    graph = model.graph
    if len(graph.inputs) != 1:
        raise RequestError(f"{model.name} has {len(graph.inputs)} inputs: SQNR is of files with one")
    values = tflite_values(model, {graph.tensors[graph.inputs[0]].name: _fed(model, graph)})
    return {graph.tensors[index].name: value.astype(np.float64) for index, value in values.items()}


def _fed(model: Tflite, graph: Graph) -> Array:
    """The photograph as the file takes it, in float; or noise."""
    shape = graph.tensors[graph.inputs[0]].shape
    preprocessing = model.description.preprocessing if model.description else None
    if preprocessing is None or len(shape) != 4 or shape[-1] != 3:
        return random_input(shape, "float32")
    return load_image(bundled_photograph(), Resolution(*shape[1:3]), preprocessing)
