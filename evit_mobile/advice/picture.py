"""The chart of an advice: time against SQNR, or accuracy."""

from __future__ import annotations

import math

from evit_mobile.advice.choice import Advice, Option
from evit_mobile.results.draw.interval_plot import LIGHT, Form
from evit_mobile.results.draw.pareto_plot import Dot, ParetoAxes, pareto_plot
from evit_mobile.results.summary import axis_title, scale, unit

#: fp32 has no noise against itself: it stands so many dB above the best of the others, or above the bound.
ABOVE_DB = 10.0


def chart(advice: Advice, form: Form) -> bytes:
    """Every file that was measured: its latency (estimated, where the device is an estimate) against its quality."""
    quantity = next(point.quantity for point in advice.results.points if point.quantity is not None)
    front = advice.front()
    known = [option for option in advice.options if option.value is not None and option.quality is not None]
    dots = [
        Dot(
            _label(option),
            scale(quantity, option.value or 0),
            _height(option, advice),
            option in front,
            option is advice.chosen,
        )
        for option in known
    ]
    by_accuracy = advice.reference.accuracy is not None
    requirement = advice.requirement
    drop = None if requirement.max_drop is None else 100 * (advice.reference.accuracy or 0) - requirement.max_drop
    axes = ParetoAxes(
        f"{advice.model}, {advice.results.device.soc}",
        f"{axis_title(advice.results, quantity)} ({unit(quantity)})",
        f"{advice.figure} (%)" if by_accuracy else "SQNR against fp32 (dB)",
        drop if by_accuracy else requirement.bound_db,
    )
    return pareto_plot(dots, axes, LIGHT, form)


def _label(option: Option) -> str:
    assert option.conversion is not None and option.memory_bytes is not None
    size, memory = option.conversion.report.bytes_tflite / 1e6, option.memory_bytes / 1e6
    return f"{option.name}\n{size:.1f} MB, needs {memory:.0f} MB"


def _height(option: Option, advice: Advice) -> float:
    if option.accuracy is not None:
        return 100 * option.accuracy
    assert option.sqnr_db is not None
    if math.isfinite(option.sqnr_db):
        return option.sqnr_db
    others = [item.sqnr_db for item in advice.options if item.sqnr_db is not None and math.isfinite(item.sqnr_db)]
    return max([*others, advice.requirement.bound_db or 0.0]) + ABOVE_DB
