"""Several models under several settings on one device, and resuming a sweep that was interrupted."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Iterator, Sequence

from android_bench.device import Device
from android_bench.suites.rounds import Candidate, measure
from evit_mobile import __version__
from evit_mobile.errors import RequestError
from evit_mobile.results.files import load
from evit_mobile.results.record import Component, DeviceInfo, Point, ResultSet, RunSettings


def sweep(
    device: Device,
    candidates: Sequence[Candidate],
    settings: Sequence[RunSettings],
    done: Sequence[Point] = (),
    *,
    profile: bool = False,
) -> Iterator[tuple[Point, ...]]:
    """Measure under one setting after the other; yield all points so far after each round.

    Args:
        done: points that were measured before, see ``resume``: complete ones are not measured again, others only for
            the rounds that they lack.
        profile: give each point its time by op, too.

    Raises:
        EvitMobileError: from ``measure``. UnusableDeviceError: the device went away; what was yielded stands.
    """
    finished: tuple[Point, ...] = ()
    for number, setting in enumerate(settings, 1):
        latest: tuple[Point, ...] = ()
        # What is there of later settings stays there, should this be interrupted again.
        later = tuple(point for point in done if point.settings in settings[number:])
        for latest in measure(
            device, candidates, setting, [point for point in done if point.settings == setting], profile=profile
        ):
            yield finished + latest + later
        finished += latest


def begin(device: Device, created: datetime, command: Sequence[str], before: Path | None) -> ResultSet:
    """What to add points to: the result file ``before`` where there is one, else nothing but what is known of the
    device.

    Raises:
        RequestError: see ``resume``.
    """
    components = (Component(name="evit-mobile", version=__version__), *device.components())
    described = device.describe()
    if before is not None and before.exists():
        return resume(before, described, components)
    return ResultSet(created=created, command=tuple(command), components=components, device=described)


def resume(path: Path, device: DeviceInfo, components: Sequence[Component]) -> ResultSet:
    """What an interrupted sweep left, if it can be resumed here.

    Raises:
        RequestError: there is no such file, or it was measured on another device or with other programs.
    """
    results = load(path)
    changed = [
        name
        for name in ("kind", "soc", "abi", "os_build", "cores", "emulated")
        if getattr(results.device, name) != getattr(device, name)
    ]
    if changed:
        raise RequestError(
            f"{path} was measured on a different device ({changed[0]} differs)",
            hint="give another --out, or --force without --resume",
        )
    if results.components != tuple(components):
        before = {component.name: component for component in results.components}
        other = next((entry.name for entry in components if before.get(entry.name) != entry), "another program")
        raise RequestError(
            f"{path} was measured with a different {other}", hint="give another --out, or --force without --resume"
        )
    return results
