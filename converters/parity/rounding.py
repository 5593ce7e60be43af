"""How far float32 itself is from the exact value of an output: what no file can be asked to improve on.

Two figures, both absolute, per output:

* the distance of the reference in float32 from the reference in float64, and
* the response: how far the reference in float32 moves if every input value moves by about one unit in its last place
  (2**-23 of 1, or of the largest input where that is larger). Another order of the same additions is a disturbance of
  this size or more.

The first counts as rounding only where a thousand units in the last place move the output as far. A network that
computes something else in float64, because it asks for the type, has a larger distance, which excuses nothing.

An output that misses a bound is right all the same where it is off by no more than some of its own roundings. Where the
rounding is by itself beyond the bound, nothing can be said of the output on this input.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from converters.onnx_session import Run
from converters.parity.differences import CRITERIA, Difference
from converters.source.outputs import flatten_outputs
from evit_mobile.arrays import Array
from evit_mobile.specs import Precision

if TYPE_CHECKING:
    from torch import nn

#: One unit in the last place of float32 numbers from 1 to 2.
_ULP = 2.0**-23
#: Rounding adds up over layers, and grows where large values cancel: to no more than a disturbance of so many units
#: does.
_LARGEST_UNITS = 1000
#: Of float32, in one of float16: 13 bits of the fraction.
_UNITS_OF_HALF = 2**13
#: An output may be off by this many times the reference's own rounding: both round, each in an order of its own, and
#: each in a way of which the reference's is one sample. A poolformer_s12 with seeded weights comes to 4 times.
ALLOWED_ROUNDINGS = 8.0


def own_rounding(
    run: Run, exact: Run | None, inputs: Mapping[str, Array], expected: Mapping[str, Array]
) -> dict[str, float]:
    """The largest absolute error that float32 leaves in each output; 0 for whole numbers.

    Args:
        run: the reference in float32.
        exact: the same in float64; None where there is no such thing.
        inputs: arrays by name.
        expected: what ``run`` gives for them.
    """
    responses = _distances(run(_disturbed(inputs, 1)), expected)
    if exact is None:
        return responses
    try:
        distances = _distances(exact({name: _wide(value) for name, value in inputs.items()}), expected)
    except RuntimeError:  # a module that makes float32 tensors of its own does not run in float64
        return responses
    ceilings = _distances(run(_disturbed(inputs, _LARGEST_UNITS)), expected)
    return {
        name: max(response, distances[name]) if distances[name] <= ceilings[name] else response
        for name, response in responses.items()
    }


def half_response(run: Run, inputs: Mapping[str, Array], expected: Mapping[str, Array]) -> dict[str, float]:
    """How far each output moves if every input value moves by about one unit in the last place of float16."""
    return _distances(run(_disturbed(inputs, _UNITS_OF_HALF)), expected)


def _disturbed(inputs: Mapping[str, Array], units: int) -> dict[str, Array]:
    generator = np.random.default_rng(0)
    moved: dict[str, Array] = {}
    for name, value in inputs.items():
        if value.dtype.kind != "f":
            moved[name] = value
            continue
        size = units * _ULP * max(1.0, float(np.abs(value).max(initial=0)))
        moved[name] = (value.astype(np.float64) + generator.uniform(-size, size, value.shape)).astype(value.dtype)
    return moved


def _wide(value: Array) -> Array:
    return value.astype(np.float64) if value.dtype.kind == "f" else value


def _distances(values: Mapping[str, Array], expected: Mapping[str, Array]) -> dict[str, float]:
    distances = {}
    for name, value in expected.items():
        other = values[name]
        if value.dtype.kind != "f" or other.shape != value.shape or not np.isfinite(value).all():
            distances[name] = 0.0
        else:
            distance = float(np.abs(other.astype(np.float64) - value.astype(np.float64)).max(initial=0))
            distances[name] = distance if np.isfinite(distance) else 0.0
    return distances


def allowed(difference: Difference, magnitude: float, rounding: float, largest: float = 0.0) -> bool | None:
    """Whether an output that misses its bound is within float32's own rounding; None where that leaves nothing to
    judge.

    Args:
        difference: between the output and its reference.
        magnitude: the largest absolute value of the reference.
        rounding: see ``own_rounding``.
        largest: the largest absolute value that the output takes on any stimulus. An output that is 0 on this one is
            computed from values of the same kind, and its 0 is as exact as they are: a variance, which no small change
            of the input moves, is the usual case.
    """
    if difference.max_abs_error is None:
        return False
    if difference.max_abs_error <= ALLOWED_ROUNDINGS * _ULP * largest:
        return True
    if magnitude and rounding > CRITERIA[Precision.FP32].bound * magnitude:
        return None
    return difference.max_abs_error <= ALLOWED_ROUNDINGS * rounding


def largest_values(outputs: Iterable[Mapping[str, Array]]) -> dict[str, float]:
    """By name, the largest finite absolute value that an output has in any of ``outputs``."""
    largest: dict[str, float] = {}
    for values in outputs:
        for name, value in values.items():
            finite = np.abs(value[np.isfinite(value)].astype(np.float64))
            largest[name] = max(largest.get(name, 0.0), float(finite.max(initial=0)))
    return largest


def run_module(module: nn.Module, inputs: Mapping[str, Array], names: tuple[str, ...]) -> dict[str, Array]:
    """Outputs of ``module`` by name, see ``flatten_outputs``; ``inputs`` in the order of its arguments."""
    import torch

    with torch.no_grad():
        outputs = flatten_outputs(module(*(torch.from_numpy(value) for value in inputs.values())), names)
    return {name: value.numpy() for name, value in outputs.items()}


def run_in_double(module: nn.Module, names: tuple[str, ...]) -> Run:
    """``run_module`` of a float64 copy of ``module``."""
    exact = copy.deepcopy(module).double()
    return lambda inputs: run_module(exact, inputs, names)
