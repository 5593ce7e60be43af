"""Result files of suites with figures that are known beforehand."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Callable

import numpy as np

from evit_mobile.results.record import (
    Accuracy,
    Component,
    Core,
    DeviceInfo,
    Place,
    Point,
    ResultSet,
    Round,
    RunSettings,
    Suite,
)

SETTINGS = RunSettings(rounds=8)
SNAPDRAGON_855 = "Snapdragon 855 (SM8150)"


def device(kind: str = "host", soc: str = "EPYC", emulated: bool = False) -> DeviceInfo:
    return DeviceInfo(
        kind=kind, name=kind, soc=soc, abi="x86_64", cores=(Core(index=0),), os_build="b", emulated=emulated
    )


def place(series: str, x: float, along: str = "tokens", **more: Any) -> Place:
    at: dict[str, Any] = {"side": x}
    if along == "tokens":
        at = {"side": x**0.5, "tokens": int(x)}
    elif along == "top1":
        at = {"side": 224, "accuracy": Accuracy(top1_percent=x, source="a table")}
    return Place(**{"series": series, "model": series, "macs": round(1e6 * x), **at, **more})


def point(
    where: Place, us: float, settings: RunSettings = SETTINGS, noise: float = 0.005, seed: int = 0, counts: bool = False
) -> Point:
    """Rounds of about ``us`` microseconds (or thousands of instructions), five samples each."""
    rng = np.random.default_rng([seed, round(us)])
    rounds = tuple(
        Round(instructions=(round(us * 1000),)) if counts else Round(latency_us=tuple(us * rng.lognormal(0, noise, 5)))
        for _ in range(settings.rounds)
    )
    name = f"{where.model}@{where.side:g}" + (f" {where.accuracy.top1_percent}" if where.accuracy else "")
    return Point(name=name, model_sha256="0" * 64, model_bytes=9, settings=settings, rounds=rounds, place=where)


def unmeasured(where: Place, settings: RunSettings = SETTINGS, **more: Any) -> Point:
    return Point(name=f"{where.model}@{where.side:g}", settings=settings, place=where, **more)


def results(points: list[Point], info: DeviceInfo, figure: str | None, along: str, **more: Any) -> ResultSet:
    fields = {
        "name": "s",
        "title": "A suite",
        "figure": figure,
        "along": along,
        "sha256": "0" * 64,
        **more.pop("suite", {}),
    }
    suite = Suite.model_validate(fields)
    return ResultSet(
        created=datetime(2026, 1, 2, tzinfo=UTC),
        command=("evit-mobile",),
        components=(Component(name="litert", version="2.1.2"),),
        device=info,
        points=tuple(points),
        suite=suite,
        **more,
    )


def layer(
    linear_us: Callable[[float], float], softmax_us: Callable[[float], float], info: DeviceInfo, **more: Any
) -> ResultSet:
    """Figure 2 (left) at four numbers of tokens, and softmax at 16384, which does not fit."""
    points = []
    for tokens in (196.0, 400.0, 1024.0, 4096.0):
        points += [
            point(place("linear", tokens), linear_us(tokens)),
            point(place("softmax", tokens), softmax_us(tokens)),
        ]
    points.append(point(place("linear", 16384.0), linear_us(16384.0)))
    points.append(
        unmeasured(place("softmax", 16384.0), limit="does not fit", error="needs about 28 GB and may use 4 GB")
    )
    return results(points, info, "figure-2-left", "tokens", **more)
