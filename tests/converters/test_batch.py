"""Many conversions at once, here and on a Dask cluster; and what is predicted of a model before it is converted
or run.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from android_bench.device import DeviceOptions, open_device
from converters.batch import Task, TaskOutcome, convert_all
from evit_mobile.errors import MachineError
from evit_mobile.models.counting import count_macs, count_needs
from evit_mobile.models.paper import shapes
from evit_mobile.results.content import Content
from evit_mobile.results.record import RunSettings
from evit_mobile.specs import Resolution
from evit_mobile.tflite.costs import memory_bytes
from evit_mobile.tflite.graph import read_graph
from evit_mobile.weights import sha256_of

GIGABYTE = 1_000_000_000
SMALL = [Task("attention-linear", Resolution(14, 14)), Task("attention-softmax", Resolution(14, 14))]


def _all(tasks: list[Task], limit: int = GIGABYTE, **more: object) -> dict[Task, TaskOutcome]:
    return dict(convert_all(tasks, limit, **more))  # type: ignore[arg-type]


def test_what_is_made_in_other_processes_is_what_is_made_here(converted: Callable[..., Path]) -> None:
    outcomes = _all(SMALL, workers=2)
    for task in SMALL:
        here = converted(task.model, resolution=task.resolution)
        outcome = outcomes[task]
        assert outcome.path is not None and sha256_of(outcome.path) == sha256_of(here)
        assert outcome.error is None
        assert outcome.content == Content(
            precision="fp32", ops=len(read_graph(here).ops), partitions=1, undelegated_ops=0
        )
        assert outcome.macs == _macs(task)


def _macs(task: Task) -> int:
    module, channels = shapes(task.model, task.resolution)
    return count_macs(module, task.resolution, channels)


def test_what_cannot_fit_or_is_wrong_is_told_and_spoils_nothing() -> None:
    too_large, unknown = Task("attention-softmax", Resolution(128, 128)), Task("no-such-model", Resolution(32, 32))
    odd = Task("base-r192", Resolution(100, 100))
    outcomes = _all([too_large, unknown, odd, SMALL[0]], workers=2)
    # 13 heads of 16384 x 16384 floats, before and after the softmax.
    assert outcomes[too_large].too_large and (outcomes[too_large].memory_bytes or 0) >= 2 * 13 * 16384**2 * 4
    assert "no model" in (outcomes[unknown].error or "") and "does not divide" in (outcomes[odd].error or "")
    assert outcomes[SMALL[0]].path is not None


def test_counting_alone_makes_no_file() -> None:
    task = Task("timm:resnet18", Resolution(224, 224), count_only=True)
    [outcome] = _all([task], workers=1).values()
    # 1.8 G multiply-accumulates: K. He et al., "Deep Residual Learning", Table 1.
    assert outcome.path is None and outcome.error is None and outcome.macs == pytest.approx(1.8e9, rel=0.02)


def test_the_prediction_is_near_what_a_run_takes(converted: Callable[..., Path]) -> None:
    """The oracle is the process's own greatest resident set; the delegate's code and its small tables come on top of
    the prediction.
    """
    settings = RunSettings(runs=1, rounds=1, warmup_runs=0, min_time_s=0)
    for model, side in (("attention-softmax", 32), ("attention-linear", 32)):
        path = converted(model, resolution=Resolution(side, side))
        device = open_device("host", DeviceOptions(memory_limit_bytes=4 * GIGABYTE))
        with device.prepare([path], settings) as prepared:
            taken = prepared.run(path).peak_memory_bytes
        predicted = memory_bytes(read_graph(path))
        assert taken is not None and 0.5 * taken - 12e6 < predicted < 2 * taken + 12e6, (model, predicted, taken)


def test_needs_of_a_layer_are_its_largest_maps() -> None:
    module, channels = shapes("attention-softmax", Resolution(32, 32))
    needs = count_needs(module, Resolution(32, 32), channels)
    maps = 2 * 13 * 1024**2 * 4
    assert maps <= needs.memory_bytes < 1.1 * maps


def test_a_cluster_of_two_workers_makes_the_same(converted: Callable[..., Path]) -> None:
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        outcomes = _all(SMALL, dask=cluster.scheduler_address)
    for task in SMALL:
        outcome = outcomes[task]
        assert outcome.path is not None and sha256_of(outcome.path) == sha256_of(
            converted(task.model, resolution=task.resolution)
        )


def test_a_scheduler_that_is_not_there() -> None:
    with pytest.raises(MachineError, match="cannot be reached"):
        _all(SMALL, dask="tcp://127.0.0.1:9")
