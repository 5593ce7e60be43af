"""From lines and cycles to time, by hand; names of segments; and the published latencies' table."""

from __future__ import annotations

import pytest

from android_bench.estimate.devices import DeviceModel, find_device
from android_bench.estimate.places import Place
from android_bench.estimate.timing import Work, cost
from android_bench.estimate.trace import Level, Segment
from android_bench.estimate.works import INVOCATION, NOWHERE, segment_names
from benchmarks.estimate.validate import changed, load_published
from evit_mobile.results.record import OpTime

PLAIN = {"L2": 4.0, "L3": 8.0, "read": 10.0, "write": 20.0, "clock": 2.0, "mispredict_cycles": 10.0}
#: 4000 + 1600 + (64,000 B at 10 B/ns + 64,000 B at 20 B/ns) x 2 cycles/ns = 24,800 cycles of waiting.
SEGMENT = Segment(
    {}, 0, written=1000, stored=900, mispredicted=100, levels=(Level(1000, 0), Level(200, 0), Level(1000, 0))
)
WAIT = 4000 + 1600 + (6400 + 3200) * 2


def _device(**changes: float) -> DeviceModel:
    return changed(find_device("snapdragon-855"), {**PLAIN, **changes})


def _work(cycles: float, is_op: bool = True) -> Work:
    return Work("GEMM", is_op, SEGMENT, 5000, cycles - 1000)  # 100 mispredictions are 1000 cycles more


def test_without_overlap_waiting_is_added() -> None:
    op = cost(_work(30_000), _device(overlap_power=1))
    assert op.cycles == pytest.approx(30_000 + WAIT)
    assert op.time_us == pytest.approx((30_000 + WAIT) / 2 / 1000)
    assert (op.compute_cycles, op.wait_cycles) == (30_000, pytest.approx(WAIT))
    assert op.level_bytes == (64_000, 12_800, 64_000) and op.written_bytes == 64_000


def test_overlap_hides_the_smaller_of_the_two() -> None:
    op = cost(_work(30_000), _device(overlap_power=2))
    assert op.cycles == pytest.approx((30_000**2 + WAIT**2) ** 0.5)
    assert cost(_work(1e7), _device(overlap_power=2)).wait_cycles < 0.003 * WAIT
    assert 0 <= cost(_work(30_000), _device(overlap_power=16)).wait_cycles < 1000


def test_threads_share_an_op_and_not_what_is_between_ops() -> None:
    """Four cores of the same clock, no loss: computing and cache lines by four, memory up to what all cores get."""
    device = _device(overlap_power=1, parallel_efficiency=1, thread_us=3).model_copy(update={"clocks_ghz": (2.0,) * 4})
    memory_ns = 64_000 / min(4 * 10, 25.6) + 64_000 / min(4 * 20, 25.6)
    assert cost(_work(30_000), device, 4).time_us == pytest.approx((35_600 / 4 / 2 + memory_ns) / 1000 + 3)
    outside = _work(30_000, is_op=False)
    assert cost(outside, device, 4).time_us == cost(outside, device, 1).time_us


def _op(name: str, partition: int | None) -> OpTime:
    return OpTime(op=name, name=f"{name}:0", partition=partition, mean_us=1.0, calls=1)


def test_segments_are_named_by_partition() -> None:
    ops = [_op("A", 0), _op("B", 0), _op("GATHER", None), _op("PAD", None), _op("C", 1)]
    runtime = (INVOCATION, False, None)
    inner = [("A", True, 0), ("B", True, 1), ("GATHER, PAD", False, 2), ("C", True, 4)]
    assert segment_names(ops, [NOWHERE] * 5) == [runtime, runtime, *inner, runtime, runtime]
    assert segment_names([], []) == [runtime] * 3
    twice = [Place(None, 0, readings=2), *[NOWHERE] * 4]
    assert segment_names(ops, twice)[2:4] == [("A", True, 0)] * 2


def test_published_latencies_name_devices_and_sources() -> None:
    rows = load_published()
    assert all(row.source and row.ms > 0 and row.kernels and find_device(row.device) for row in rows)
    assert len({(row.model, row.precision, row.threads, row.runtime, row.device) for row in rows}) == len(rows)
