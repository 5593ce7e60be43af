"""The profile that Qualcomm AI Hub's client writes (``ProfileJob.download_profile``). Times are in microseconds.

Clients before 2025 write one time, newer ones that of every inference too. A metric that was not measured is null, or
0.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from android_bench.imports.base import Form, Found, positive
from android_bench.imports.json_gate import fields_of
from evit_mobile.results.entry import Count, Microseconds
from evit_mobile.results.record import Round

#: The compute unit of a layer that says none.
_UNSPECIFIED = "UNSPECIFIED"


class _Part(BaseModel):
    """Newer releases may write more fields."""

    model_config = ConfigDict(allow_inf_nan=False)


class _Summary(_Part):
    estimated_inference_time: Annotated[float, Field(ge=0, lt=1e15)] | None = None
    all_inference_times: Annotated[tuple[Microseconds, ...], Field(max_length=1_000_000)] = ()
    first_load_time: Annotated[float, Field(ge=0, lt=1e15)] | None = None
    estimated_inference_peak_memory: Count | None = None
    inference_memory_peak_range: tuple[Count, Count] | None = None


class _Layer(_Part):
    compute_unit: Annotated[str, Field(min_length=1)] = _UNSPECIFIED


class _Profile(_Part):
    execution_summary: _Summary
    execution_detail: Annotated[tuple[_Layer, ...], Field(max_length=1_000_000)] = ()


def _read(content: bytes) -> Found:
    profile = _Profile.model_validate(fields_of(content))
    summary = profile.execution_summary
    memory = summary.estimated_inference_peak_memory or None
    if summary.inference_memory_peak_range is not None:
        memory = summary.inference_memory_peak_range[1]
    return Found(
        Round(
            latency_us=summary.all_inference_times or (summary.estimated_inference_time or 0.0,),
            init_us=positive(summary.first_load_time),
            peak_memory_bytes=memory,
        ),
        accelerators=tuple(
            dict.fromkeys(
                layer.compute_unit for layer in profile.execution_detail if layer.compute_unit != _UNSPECIFIED
            )
        ),
    )


FORM = Form(
    "AI Hub's profile",
    "Qualcomm AI Hub",
    lambda content: isinstance(fields_of(content).get("execution_summary"), dict),
    _read,
)
