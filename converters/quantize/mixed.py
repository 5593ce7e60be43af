"""A model in the fastest mix of precisions that keeps an SQNR, which is measured on inputs that were held out."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from converters.quantize.calibration import CalibrationData
from converters.quantize.delegated import hybrid_refusal
from converters.quantize.held_out import calibration_part, held_out_part
from converters.quantize.noise import Prober, layers_of
from converters.quantize.observe import Observation, observe
from converters.quantize.parameters import assign_parameters, refused_scales
from converters.quantize.plan import OpPlan, QuantisedModel
from converters.quantize.prices import features_of, kind_of
from converters.quantize.ranges import RangeChoice
from converters.quantize.rewrite import Rewriter
from converters.quantize.weighed import Family, Weighing, rounded_when_all_is_int8
from evit_mobile.specs import IoType, Precision
from evit_mobile.tflite.file import Tflite
from evit_mobile.tflite.graph import Graph

#: Inputs on which the noise of each op is measured.
_PROBED = 4
#: Plans that are written and tested.
_TRIES = 8
#: A plan is good enough whose noise is above this share of what is allowed.
_NEAR = 0.93
#: What is allowed is changed by at most this factor from one plan to the next.
_LARGEST_STEP = 10.0


@dataclass(frozen=True)
class MixRequest:
    """What a mix has to be.

    Attributes:
        family: what its ops may be, and their prices.
        min_sqnr_db: what it keeps against float32.
        input_type, output_type: types of the model's ends.
    """

    family: Family
    min_sqnr_db: float
    input_type: IoType = IoType.FLOAT32
    output_type: IoType = IoType.FLOAT32

    @property
    def allowed(self) -> float:
        """Noise as a share of the signal's power."""
        return float(10 ** (-self.min_sqnr_db / 10))


def quantise_within(model: Tflite, data: CalibrationData, request: MixRequest) -> QuantisedModel:
    """Quantise what makes the float32 ``model`` faster, as long as it keeps what ``request`` asks for.

    Args:
        model: as it was lowered.
        data: calibration inputs; each fourth is held out to test on.

    Raises:
        RequestError: see ``observe``.
    """
    return _Search(model, data, request).best()


class _Search:
    def __init__(self, model: Tflite, data: CalibrationData, request: MixRequest) -> None:
        self._model, self._request, self._graph = model, request, model.graph
        self._refused: dict[int, str] = {}
        int8 = request.family.int8
        self._observed = observe(model, calibration_part(data)) if int8 else {}
        usual = list(itertools.islice(calibration_part(data), _PROBED))
        known = assign_parameters(
            self._graph, rounded_when_all_is_int8(self._graph, {}), self._observed, RangeChoice.MSE
        )
        prober = Prober(model, [[value] for value in usual])
        self._noise = prober.measure(known if int8 else {}, _worthwhile(self._graph, request.family))
        self._tester = Prober(model, [[value] for value in held_out_part(data)] or [[value] for value in usual])

    def best(self) -> QuantisedModel:
        """The fastest of the plans that were written and keep what is asked for."""
        request, allowed = self._request, self._request.allowed
        tried: list[Sequence[OpPlan]] = []
        found: QuantisedModel | None = None
        for _ in range(_TRIES):
            plan, made = self._written(allowed)
            if plan in tried:
                break
            tried.append(plan)
            measured = self._tester.noise(made.content)
            if measured <= request.allowed:
                found = made  # each plan that is tried after one that keeps the bound has more noise, and is faster
                if measured >= _NEAR * request.allowed:
                    break
            elif found is not None:
                break
            step = request.allowed / max(measured, request.allowed / _LARGEST_STEP)
            allowed *= max(step, 1 / _LARGEST_STEP) * (1.0 if measured <= request.allowed else _NEAR)
        return found or self._written(0.0)[1]

    def _written(self, allowed: float) -> tuple[list[OpPlan], QuantisedModel]:
        """The plan whose noise adds up to ``allowed``, and the model by it."""
        request, graph = self._request, self._graph
        ends = {
            "int8_input": request.input_type is not IoType.FLOAT32,
            "int8_output": request.output_type is not IoType.FLOAT32,
        }
        while True:
            weighing = Weighing(graph, request.family, self._noise, self._refused)
            plan = weighing.within(allowed, **ends)
            observed: dict[int, Observation] = self._observed
            parameters = assign_parameters(graph, plan, observed, RangeChoice.MSE)
            more = refused_scales(graph, plan, parameters)
            if not more:
                break
            self._refused |= more
        rewriter = Rewriter(self._model.editable_tree(), parameters, observed or None)
        return plan, rewriter.write(plan, request.input_type, request.output_type)


def _worthwhile(graph: Graph, family: Family) -> list[int]:
    """Layers whose noise has to be known: those that int8 weights make faster, and with int8 ops all."""
    layers = []
    for op in layers_of(graph):
        kind, features = kind_of(op, graph), features_of(op, graph)
        as_hybrid = family.prices.of(kind, Precision.DYNAMIC, features)
        is_faster = hybrid_refusal(op, graph) is None and as_hybrid < family.prices.of(kind, family.floating, features)
        if is_faster or family.int8:
            layers.append(op.index)
    return layers
