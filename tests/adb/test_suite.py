"""A suite on a virtual phone and on this machine at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from android_bench.emulator.root import EmulatorRoot
from evit_mobile.results.record import load
from tests.adb.conftest import Ended
from tests.virtual_device.phone import VirtualPhone


def test_two_devices_at_once_have_a_file_each(
    phone: VirtualPhone, evit: Callable[..., Ended], system: EmulatorRoot, tmp_path: Path
) -> None:
    devices = ["--device", f"adb:{phone.serial}", "--device", "host", "--benchmark-binary", system.runner]
    limits = ["--up-to", 196, "--threads", 1, "--rounds", 1, "--runs", 1, "--budget", 60]
    ended = evit("bench", "--suite", "smoke", *devices, *limits, "--out", tmp_path / "both")
    assert ended.code == 0, ended.err
    kinds = {load(path).device.kind: load(path) for path in sorted((tmp_path / "both").glob("smoke-*.json"))}
    assert set(kinds) == {"adb", "host"}
    assert all(point.rounds for results in kinds.values() for point in results.points)
