"""The JSON of LiteRT's benchmark tool (``litert-benchmark --result_json``)."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from android_bench.imports.base import Form, Found, positive, stem_of, warmup
from android_bench.imports.json_gate import fields_of
from evit_mobile.results.entry import Count
from evit_mobile.results.record import PrintedLatency, Round

Milliseconds = Annotated[float, Field(ge=0, lt=1e12)]


class _Part(BaseModel):
    """Newer releases may write more fields."""

    model_config = ConfigDict(allow_inf_nan=False)


class _Latency(_Part):
    avg_ms: Milliseconds
    num_runs: Count
    init_ms: Milliseconds | None = None
    warmup_first_ms: Milliseconds | None = None
    warmup_avg_ms: Milliseconds | None = None
    num_warmup_runs: Count = 0
    min_ms: Milliseconds | None = None
    max_ms: Milliseconds | None = None
    median_ms: Milliseconds | None = None
    std_ms: Milliseconds | None = None
    p5_ms: Milliseconds | None = None
    p95_ms: Milliseconds | None = None


class _Document(_Part):
    latency: _Latency
    model: str | None = None
    num_threads: Count | None = None
    accelerators: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(max_length=10)] = ()


def _read(content: bytes) -> Found:
    document = _Document.model_validate(fields_of(content))
    latency = document.latency
    return Found(
        Round(
            printed_latency=PrintedLatency(
                count=latency.num_runs,
                mean_us=latency.avg_ms * 1e3,
                std_us=latency.std_ms * 1e3 if latency.std_ms is not None else None,
                min_us=positive(latency.min_ms, 1e3),
                p5_us=positive(latency.p5_ms, 1e3),
                median_us=positive(latency.median_ms, 1e3),
                p95_us=positive(latency.p95_ms, 1e3),
                max_us=positive(latency.max_ms, 1e3),
            ),
            printed_warmup=warmup(latency.num_warmup_runs, positive(latency.warmup_avg_ms, 1e3)),
            init_us=positive(latency.init_ms, 1e3),
            first_inference_us=positive(latency.warmup_first_ms, 1e3),
        ),
        model=stem_of(document.model),
        threads=document.num_threads or None,
        accelerators=document.accelerators,
    )


FORM = Form(
    "LiteRT's benchmark JSON",
    "litert-benchmark",
    lambda content: isinstance(fields_of(content).get("latency"), dict),
    _read,
)
