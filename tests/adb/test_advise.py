"""Advice for a virtual phone: real adb, an arm64 program, the files of a small network."""

from __future__ import annotations

import json
from collections.abc import Callable

from android_bench.emulator.root import EmulatorRoot
from tests.adb.conftest import Ended
from tests.virtual_device.phone import VirtualPhone


def test_files_are_measured_on_the_phone(
    phone: VirtualPhone, evit: Callable[..., Ended], system: EmulatorRoot
) -> None:
    common = ("--benchmark-binary", system.runner, "--rounds", 1, "--runs", 1, "--json")
    model = ("--model", "tests.kits.small_network:make", "--resolution", 32)
    ended = evit("advise", "--device", f"adb:{phone.serial}", *model, *common)
    assert ended.code == 0, ended.err
    document = json.loads(ended.out)
    assert document["device"]["kind"] == "adb"
    *measured, int8 = document["options"]
    assert all(option["latency_us"]["median"] > 0 and option["refusal"] is None for option in measured)
    assert int8["refusal"].startswith("int8 needs calibration data")
    assert document["chosen"] in [option["precision"] for option in measured]
