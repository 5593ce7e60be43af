"""What a conversion has to compute: two stimuli, and the outputs of the exported graph for them in ONNX Runtime.

They are computed on a thread while another process lowers the graph, so that a large network's conversion takes no
longer for it.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from converters.onnx_session import Run
from converters.parity.determinism import check_repeats, run_repeatable
from converters.parity.differences import CRITERIA, Criterion, Difference, compare, without_ties
from converters.parity.layout import in_source_terms
from converters.parity.reference import class_scores, open_onnx_inputs
from converters.parity.rounding import (
    ALLOWED_ROUNDINGS,
    allowed,
    half_response,
    largest_values,
    own_rounding,
    run_in_double,
)
from converters.parity.stimuli import plain_stimuli
from converters.source.load import Source
from evit_mobile.arrays import Array
from evit_mobile.errors import ClaimError
from evit_mobile.specs import OutputLayout, Precision

if TYPE_CHECKING:
    import onnx
    from torch import nn

#: Values of the inputs up to which a network runs in a moment, in PyTorch and by TFLite's own kernels: on 1024x2048
#: images those take 20 s.
_SMALL_INPUT = 2**20
#: Times its own rounding by which a float32 output is wrong even where that is larger than the bound. Files of timm's
#: families that miss the bound come to 2 where they are right, and to 3700 and more where they are wrong (zoo.md).
_FAR = 100.0


class AnotherNetworkError(ClaimError):
    """The exported graph does not compute what the module does."""


@dataclass(frozen=True)
class Case:
    """A stimulus with what the network gives for it; arrays by name, in the exported graph's layout."""

    name: str
    inputs: Mapping[str, Array]
    outputs: Mapping[str, Array]


def is_small(inputs: Mapping[str, Array]) -> bool:
    """Whether a network runs on these inputs in a moment, by whatever runs it."""
    return sum(value.size for value in inputs.values()) <= _SMALL_INPUT


class Expected:
    """The cases of ``stock``, the exported graph of ``source``; they are computed from now on, and ``cases`` waits for
    them.

    ``layout`` is of the file's outputs. A source that is a module runs too, twice: it has to be a function of its
    input, and the exported graph has to compute the same.
    """

    def __init__(self, source: Source, stock: onnx.ModelProto, layout: OutputLayout = OutputLayout.NHWC) -> None:
        self.source, self.stock = source, stock
        self.layout = in_source_terms(layout, channels_last=source.channels_last)
        self._largest: dict[str, float] = {}
        pool = ThreadPoolExecutor(1, "expected")
        self._cases = pool.submit(self._compute)
        pool.shutdown(wait=False)

    def cases(self) -> list[Case]:
        """The two of ``plain_stimuli``.

        Raises:
            RequestError: the module is not a function of its input.
            AnotherNetworkError: the exported graph does not compute what the module does.
        """
        return self._cases.result()

    def case(self, name: str, inputs: Mapping[str, Array]) -> Case:
        """The case of any inputs."""
        return Case(name, inputs, self._run(inputs))

    def difference(self, case: Case, output: str, actual: Array) -> Difference:
        """How far ``actual`` is from the expected output; of classes, only those count that no rounding explains."""
        expected = case.outputs[output]
        if expected.dtype.kind in "iu" and actual.shape == expected.shape:
            scores = class_scores(self.source.module, case.inputs)
            if scores is not None:
                actual = without_ties(expected, actual, scores, CRITERIA[Precision.FP32].bound)
        return compare(expected, actual)

    def contradicts(self, case: Case, output: str, difference: Difference, criterion: Criterion) -> bool:
        """Whether an output is wrong: it misses ``criterion``, and float32's own rounding on this input does not
        explain it.

        An expected output that holds NaN or infinity tells nothing, and contradicts none.

        Raises:
            RequestError: the graph gives another output at each call, which is no rounding.
        """
        if criterion.holds(difference):
            return False
        expected = case.outputs[output]
        if expected.dtype.kind != "f" or difference.max_abs_error is None:
            return bool(expected.dtype.kind != "f" or np.isfinite(expected).all())
        if criterion.measure != "relative_error":
            return bool(np.any(expected))  # the power of zeros is no measure
        rounding = own_rounding(self._run, self._exact, case.inputs, case.outputs)[output]
        magnitude = float(np.abs(expected).max(initial=0))
        verdict = allowed(difference, magnitude, rounding, self._largest[output])
        far = criterion == CRITERIA[Precision.FP32] and difference.max_abs_error > _FAR * rounding
        if verdict is False or (verdict is None and far):
            return True
        check_repeats(self._run, case.inputs, case.outputs, self.source.name)
        return False

    def explained_by_half(self, case: Case, output: str, difference: Difference) -> bool:
        """Whether half precision's own rounding explains how far an output is off: of flat pictures a normalisation
        makes as much of the rounding as of a texture.
        """
        if difference.failure is not None or difference.max_abs_error is None:
            return False
        response = half_response(self._run, case.inputs, case.outputs)[output]
        return difference.max_abs_error <= ALLOWED_ROUNDINGS * response

    def _compute(self) -> list[Case]:
        cases = [self.case(item.name, item.inputs) for item in plain_stimuli(self.source, self.stock)]
        self._largest = largest_values(case.outputs for case in cases)
        if self.source.module is not None:
            self._check_export(self.source.module, cases[0])
        return cases

    def _check_export(self, module: nn.Module, case: Case) -> None:
        source, inputs = self.source, list(case.inputs.values())
        # A module that keeps a state of its own rarely agrees with a graph that has none: of a large input, which takes
        # seconds, a second call is made only where they differ.
        again = is_small(case.inputs)
        outputs = run_repeatable(module, inputs, source.outputs, source.name, again=again)
        for (name, value), output in zip(outputs.items(), case.outputs, strict=True):
            difference = self.difference(case, output, value)
            if self.contradicts(case, output, difference, CRITERIA[Precision.FP32]):
                if not again:
                    run_repeatable(module, inputs, source.outputs, source.name)
                figure = difference.failure or CRITERIA[Precision.FP32].figure(difference)
                raise AnotherNetworkError(
                    f"PyTorch's exporter writes another network than {source.name}: output {name} on {case.name}: "
                    f"{figure}",
                    hint="torch.where in place of a branch on values, or the other --exporter",
                )

    @functools.cached_property
    def _run(self) -> Run:
        return open_onnx_inputs(self.stock, self.source)

    @functools.cached_property
    def _exact(self) -> Run | None:
        if self.source.module is None:
            return None
        run, names = (
            run_in_double(self.source.module, self.source.outputs),
            [item.name for item in self.stock.graph.output],
        )
        return lambda inputs: dict(zip(names, run(inputs).values(), strict=True))
