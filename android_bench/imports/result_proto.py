"""The result file of ``benchmark_model``, a protocol buffer; both of its programs write it."""

from __future__ import annotations

from android_bench.benchmark_model import result_file
from android_bench.benchmark_model.output import BenchmarkError
from android_bench.imports.base import AGGREGATES, Form, Found, positive, warmup
from evit_mobile.results.record import PrintedLatency, Round

_KB = 1024


def _recognises(content: bytes) -> bool:
    try:
        return "latency_metrics" in result_file.parse(content)
    except BenchmarkError:
        return False


def _read(content: bytes) -> Found:
    metrics = result_file.parse(content)
    latency, memory, counts = (metrics.get(f"{name}_metrics", {}) for name in ("latency", "memory", "misc"))
    footprint_kb = memory.get("overall_footprint_kb")
    return Found(
        Round(
            printed_latency=PrintedLatency(
                count=int(counts.get("num_runs", 0)),
                mean_us=latency.get("avg_ms", 0.0) * 1e3,
                std_us=latency["stddev_ms"] * 1e3 if "stddev_ms" in latency else None,
                **{f"{name}_us": positive(latency.get(f"{name}_ms"), 1e3) for name in AGGREGATES},
            ),
            printed_warmup=warmup(
                int(counts.get("num_warmup_runs", 0)), positive(latency.get("average_warm_up_ms"), 1e3)
            ),
            init_us=positive(latency.get("init_ms"), 1e3),
            first_inference_us=positive(latency.get("first_inference_ms"), 1e3),
            peak_memory_bytes=max(0, int(footprint_kb) * _KB) if footprint_kb is not None else None,
            result_file=metrics,
        )
    )


FORM = Form("benchmark_model's result file", "benchmark_model", _recognises, _read)
