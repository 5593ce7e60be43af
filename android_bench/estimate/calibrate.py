"""A device file of one's own: the constants of a known core, with the overlap fitted to what a phone measured."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import yaml

from android_bench.estimate.devices import Constant, DeviceModel
from android_bench.estimate.timing import Work, cost, total_us
from evit_mobile.results.record import OpTime

#: The overlap powers that a fit chooses from, and the fewest networks that a fit takes: one is left out in turn.
POWERS = tuple(round(1 + 0.05 * step, 2) for step in range(61))
LEAST = 3


@dataclass(frozen=True)
class Observation:
    """One network: its work on the emulated core, what the phone measured on one thread, and its time by op if it has a
    profiler.
    """

    name: str
    works: Sequence[Work]
    measured_us: float
    profile: tuple[OpTime, ...] = ()


@dataclass(frozen=True)
class Fit:
    """The fitted device, and by network its error and its error when it is left out (0.1 is an estimate 10 % too
    long).
    """

    device: DeviceModel
    errors: dict[str, float]
    left_out: dict[str, float]


@dataclass(frozen=True)
class Kind:
    """All ops of one type over all networks."""

    op: str
    estimated_us: float
    measured_us: float

    @property
    def error(self) -> float:
        """0.1 is an estimate 10 % too long."""
        return self.estimated_us / self.measured_us - 1


def fit(observations: Sequence[Observation], base: DeviceModel, title: str) -> Fit:
    """Fit the overlap, and take the largest error on a network that was left out as the device's error.

    Args:
        observations: at least ``LEAST`` networks.
        base: whose other constants are kept.
        title: of the new device.
    """
    power = _best(observations, base)
    left_out = {
        entry.name: _error(entry, base, _best([other for other in observations if other is not entry], base))
        for entry in observations
    }
    source = f"fitted to {len(observations)} networks measured on this device"
    update = {
        "title": title,
        "overlap_power": Constant(value=power, source=source),
        "error": Constant(
            value=round(max(map(abs, left_out.values())), 4),
            source="the largest error on a network left out of the fit",
        ),
    }
    errors = {entry.name: _error(entry, base, power) for entry in observations}
    return Fit(base.model_copy(update=update), errors, left_out)


def kinds(observations: Sequence[Observation], device: DeviceModel) -> list[Kind]:
    """Estimated and measured time by type of op, the longest first; of the types that both know."""
    estimated: dict[str, float] = {}
    measured: dict[str, float] = {}
    for entry in observations:
        if entry.profile:
            for op in entry.profile:
                measured[op.op] = measured.get(op.op, 0.0) + op.mean_us
            for spent in (cost(work, device) for work in entry.works):
                estimated[spent.name] = estimated.get(spent.name, 0.0) + spent.time_us
    known = [Kind(name, estimated[name], us) for name, us in measured.items() if us > 0 and name in estimated]
    return sorted(known, key=lambda kind: -kind.measured_us)


def to_yaml(device: DeviceModel) -> str:
    """The device file."""
    return yaml.safe_dump(device.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=120)


def _best(observations: Sequence[Observation], base: DeviceModel) -> float:
    """The power whose largest error is smallest."""
    return min(POWERS, key=lambda power: max(abs(math.log1p(_error(entry, base, power))) for entry in observations))


def _error(entry: Observation, base: DeviceModel, power: float) -> float:
    constant = base.overlap_power.model_copy(update={"value": power})
    device = base.model_copy(update={"overlap_power": constant})
    return total_us([cost(work, device) for work in entry.works]) / entry.measured_us - 1
