"""The result file that ``benchmark_model`` writes if it is asked to (``--result_file_path``): a protocol buffer.

It holds what the tool prints, with more digits of the averages, and what it does not print. Both dialects write it.
"""

from __future__ import annotations

import functools
from typing import Any

from android_bench.benchmark_model.output import BenchmarkError

#: Messages by their field in ``BenchmarkResult`` (LiteRT's benchmark_result.proto), and their fields in
#: order of number. All are floats but those that end in ``_kb`` or begin with ``num_``, which are integers.
_MESSAGES = {
    "latency_metrics": (
        2,
        (
            "avg_ms",
            "min_ms",
            "max_ms",
            "stddev_ms",
            "median_ms",
            "p5_ms",
            "p95_ms",
            "init_ms",
            "first_inference_ms",
            "average_warm_up_ms",
        ),
    ),
    "memory_metrics": (3, ("init_footprint_kb", "overall_footprint_kb", "peak_mem_mb")),
    "misc_metrics": (4, ("model_size_mb", "num_runs", "num_warmup_runs", "model_throughput_in_mb_per_sec")),
}


def parse(content: bytes) -> dict[str, dict[str, float]]:
    """What the file says, by the tool's own names; the units stand in them. Fields that are not known here are left
    out.

    Raises:
        BenchmarkError: it is not such a file.
    """
    from google.protobuf.message import DecodeError

    message = _result_type()()
    try:
        message.ParseFromString(content)
    except DecodeError as error:
        raise BenchmarkError("the result file that benchmark_model wrote is damaged") from error
    metrics = {
        name: {
            field: _shortest(getattr(getattr(message, name), field))
            for field in fields
            if getattr(message, name).HasField(field)
        }
        for name, (_, fields) in _MESSAGES.items()
        if message.HasField(name)
    }
    if "latency_metrics" not in metrics:
        raise BenchmarkError("the result file that benchmark_model wrote holds no latency")
    return metrics


def _shortest(value: float) -> float:
    """A 32-bit float as it was meant: 0.1762, not 0.17620000243."""
    return value if isinstance(value, int) else float(f"{value:.7g}")


@functools.cache
def _result_type() -> Any:
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="benchmark_result.proto", package="benchmark")
    result = file.message_type.add(name="BenchmarkResult")
    for name, (number, fields) in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for index, field in enumerate(fields, 1):
            whole = field.endswith("_kb") or field.startswith("num_")
            message.field.add(
                name=field,
                number=index,
                label=kinds.LABEL_OPTIONAL,
                type=kinds.TYPE_INT32 if whole else kinds.TYPE_FLOAT,
            )
        result.field.add(
            name=name,
            number=number,
            label=kinds.LABEL_OPTIONAL,
            type=kinds.TYPE_MESSAGE,
            type_name=f".benchmark.{name}",
        )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("benchmark.BenchmarkResult"))
