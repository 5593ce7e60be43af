"""Quantisation: a float .tflite and calibration images in, a mixed int8 .tflite and the plan that made it out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from converters.quantize.observe import observe
from converters.quantize.parameters import assign_parameters, refused_scales
from converters.quantize.plan import OpPlan, make_plan
from converters.quantize.ranges import RangeChoice
from converters.quantize.rewrite import Rewriter
from evit_mobile.specs import IoType
from evit_mobile.tflite.flatbuffer import unpack
from evit_mobile.tflite.graph import graph_of

__all__ = ["OpPlan", "QuantisedModel", "RangeChoice", "quantise_int8"]


@dataclass(frozen=True)
class QuantisedModel:
    """The .tflite, and what was decided for each of its ops."""

    content: bytes
    plan: list[OpPlan]


def quantise_int8(
    content: bytes,
    images: Iterable[NDArray[Any]],
    *,
    io_type: IoType = IoType.FLOAT32,
    range_choice: RangeChoice = RangeChoice.MSE,
    bias_correction: bool = True,
) -> QuantisedModel:
    """Quantise the float32 .tflite ``content`` to mixed int8.

    Args:
        images: [1, H, W, C] float32, preprocessed; read once.
        io_type: type of the model's input and outputs.

    Raises:
        RequestError: see ``observe``.
    """
    graph = graph_of(unpack(content))
    observed = observe(content, graph, images)
    ends = io_type is not IoType.FLOAT32
    refused: dict[int, str] = {}
    while True:
        plan = make_plan(graph, refused, int8_input=ends, int8_output=ends)
        parameters = assign_parameters(graph, plan, observed, range_choice)
        more = refused_scales(graph, plan, parameters)
        if not more:
            break
        refused |= more
    rewriter = Rewriter(content, parameters, observed if bias_correction else None)
    return QuantisedModel(*rewriter.write(plan, io_type))
