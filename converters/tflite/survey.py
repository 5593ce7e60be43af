"""One model under several runtimes, side by side: whether it loads, how each divides it, how fast each runs it."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Sequence

import numpy as np

from converters.tflite.partitions import read_partitioning
from evit_mobile.errors import EvitMobileError, first_line
from evit_mobile.results.stats import Interval, paired_ratio
from evit_mobile.runtimes import Runtime, Session
from evit_mobile.runtimes.inputs import random_input
from evit_mobile.turns import turns

#: Rounds in which the runtimes take turns; enough for an interval, see ``evit_mobile.results.stats``.
ROUNDS = 8
#: A round of one runtime lasts about this long, in microseconds, and holds at least one inference and at most MAX_RUNS.
ROUND_US = 60_000.0
MAX_RUNS = 50


@dataclass(frozen=True)
class SurveyRow:
    """A model under one runtime, with XNNPACK and one thread.

    Attributes:
        version: package and version; None where the runtime is not installed.
        error: why the runtime could not load or run the model; None where it could, or is not installed.
        partitions: None where the runtime does not list its ops, or there is an error.
        undelegated: type -> number of the ops that TFLite's own kernels run.
        fully_accelerated: whether there are none; None where the runtime does not say.
        latency_us: median over rounds.
        ratio: latency over that of the first runtime that runs the model, from paired rounds; with its 95 % interval.
    """

    runtime: str
    version: str | None
    error: str | None = None
    partitions: int | None = None
    undelegated: dict[str, int] = dataclasses.field(default_factory=dict)
    fully_accelerated: bool | None = None
    latency_us: float | None = None
    ratio: float | None = None
    ratio_interval: Interval | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return dataclasses.asdict(self)


def survey(path: Path, runtimes: Sequence[Runtime]) -> list[SurveyRow]:
    """Load the .tflite at ``path`` in every runtime that is installed, and let them run it in turn (A B B A) on the
    same input.
    """
    rows = {runtime.name: SurveyRow(runtime.name, runtime.version()) for runtime in runtimes}
    with ExitStack() as stack:
        sessions: dict[str, Session] = {}
        for runtime in runtimes:
            if rows[runtime.name].version is None:
                continue
            try:
                session = stack.enter_context(runtime.open(path))
                rows[runtime.name] = _divided(rows[runtime.name], runtime, session)
            except (EvitMobileError, RuntimeError) as error:
                rows[runtime.name] = dataclasses.replace(rows[runtime.name], error=first_line(error))
            else:
                sessions[runtime.name] = session
        rounds, errors = _take_turns(sessions)
    for name, reason in errors.items():
        rows[name] = dataclasses.replace(rows[name], error=reason)
    for name, measured in rounds.items():
        ratio = paired_ratio(measured, next(iter(rounds.values())))
        median = float(np.median([np.median(samples) for samples in measured]))
        rows[name] = dataclasses.replace(
            rows[name], latency_us=median, ratio=ratio.value, ratio_interval=ratio.interval
        )
    return list(rows.values())


def _divided(row: SurveyRow, runtime: Runtime, session: Session) -> SurveyRow:
    if not runtime.lists_ops:
        return dataclasses.replace(row, fully_accelerated=session.fully_accelerated)
    ops = session.ops()
    parts = read_partitioning(ops, [info.index for info in session.outputs])
    names = {op.index: op.name for op in ops}
    undelegated = Counter(names[index] for index in parts.undelegated)
    return dataclasses.replace(
        row,
        partitions=parts.count,
        undelegated=dict(undelegated.most_common()),
        fully_accelerated=not parts.undelegated,
    )


def _take_turns(sessions: dict[str, Session]) -> tuple[dict[str, list[list[float]]], dict[str, str]]:
    """Samples in microseconds by runtime and round; and why a runtime dropped out."""
    rounds: dict[str, list[list[float]]] = {name: [] for name in sessions}
    errors: dict[str, str] = {}
    runs: dict[str, int] = {}
    # The first round warms up and finds how many runs fit into one.
    for number, order in zip(range(ROUNDS + 1), turns(sessions)):
        for name in order:
            if name in errors:
                continue
            session = sessions[name]
            inputs = [random_input(info.shape, info.dtype) for info in session.inputs]
            try:
                samples = session.time_us(inputs, runs.get(name, 3))
            except (EvitMobileError, RuntimeError) as error:
                errors[name] = first_line(error)
                continue
            if number == 0:
                runs[name] = min(MAX_RUNS, math.ceil(ROUND_US / min(samples)))
            else:
                rounds[name].append(samples)
    return {name: measured for name, measured in rounds.items() if name not in errors}, errors
