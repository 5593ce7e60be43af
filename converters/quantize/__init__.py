"""Quantisation: a float .tflite and calibration images in, a mixed int8 .tflite and the plan that made it out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from numpy.typing import NDArray

from converters.quantize.observe import observe
from converters.quantize.parameters import assign_parameters, refused_scales
from converters.quantize.plan import OpPlan, QuantisedModel, make_plan
from converters.quantize.ranges import RangeChoice
from converters.quantize.rewrite import Rewriter
from evit_mobile.specs import IoType
from evit_mobile.tflite.file import Tflite

__all__ = ["OpPlan", "QuantisedModel", "RangeChoice", "quantise_int8"]


def quantise_int8(
    model: Tflite,
    images: Iterable[NDArray[Any]],
    *,
    io_type: IoType = IoType.FLOAT32,
    float_input: bool = False,
    range_choice: RangeChoice = RangeChoice.MSE,
    bias_correction: bool = True,
) -> QuantisedModel:
    """Quantise the float32 ``model`` to mixed int8.

    Args:
        images: [1, H, W, C] float32, preprocessed; read once.
        io_type: type of the model's input and outputs.
        float_input: the input stays float32 all the same.

    Raises:
        RequestError: see ``observe``.
    """
    graph = model.graph
    observed = observe(model, images)
    input_type = IoType.FLOAT32 if float_input else io_type
    refused: dict[int, str] = {}
    while True:
        plan = make_plan(
            graph, refused, int8_input=input_type is not IoType.FLOAT32, int8_output=io_type is not IoType.FLOAT32
        )
        parameters = assign_parameters(graph, plan, observed, range_choice)
        more = refused_scales(graph, plan, parameters)
        if not more:
            break
        refused |= more
    rewriter = Rewriter(model.editable_tree(), parameters, observed if bias_correction else None)
    return rewriter.write(plan, input_type, io_type)
