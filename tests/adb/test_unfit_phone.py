"""Phones that are not fit to be measured, or lack something."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable

import pytest

from tests.adb.events import Bench, ours, when
from tests.virtual_device.phone import VirtualPhone


def test_never_cools(phone: VirtualPhone, bench: Bench) -> None:
    phone.set_temperature(71.5)
    ended = bench(phone, "--max-temp", 40, "--cool-timeout", 1)
    assert ended.code == 3 and "within 1 s: it is at 71.5 °C (allowed: 40 °C)" in ended.err


def test_waits_until_cool(phone: VirtualPhone, bench: Bench) -> None:
    phone.set_thermal_status(2)
    began = time.monotonic()

    with when(lambda: time.monotonic() > began + 1 and ours(phone).exists(), lambda: phone.set_thermal_status(0)):
        assert bench(phone, "--cool-timeout", 60).code == 0


def test_clock_held_at_its_minimum(phone: VirtualPhone, bench: Bench) -> None:
    for cluster in phone.profile.clusters:
        phone.set_clock(cluster.min_khz, cluster.cores)
    ended = bench(phone, "--cool-timeout", 1)
    assert (
        ended.code == 3 and "holds its clocks at their minimum under load: core 7 at 826 MHz of 2842 MHz" in ended.err
    )


def test_clock_limited(phone: VirtualPhone, bench: Bench) -> None:
    phone.set_clock_limit(1000000, [7])
    ended = bench(phone, "--cool-timeout", 1)
    assert ended.code == 3 and "core 7 is limited to 1000 of 2842 MHz" in ended.err


def without(*commands: str) -> Callable[[VirtualPhone], None]:
    def remove(phone: VirtualPhone) -> None:
        for command in commands:
            (phone.root / "system" / "bin" / command).unlink()

    return remove


def without_sysfs(phone: VirtualPhone) -> None:
    """As on phones whose maker keeps it from adb's user."""
    for path in (*phone.root.glob("sys/devices/system/cpu/cpu[0-9]*"), *phone.root.glob("sys/class/thermal")):
        shutil.rmtree(path)


@pytest.mark.parametrize(
    ("lacking", "arguments", "code", "words"),
    [
        (without("dumpsys", "cmd", "settings", "taskset", "od"), [], 0, ""),
        (without("cmd"), ["--fixed-performance"], 2, "has no fixed-performance mode (it is there from Android 11 on"),
        (without("taskset"), ["--cores", "big"], 3, "does not run on the cores 0x70: "),
        (without("sha256sum"), [], 3, "has no sha256sum (Android 6 is the oldest that can be measured)"),
        (without("getprop"), [], 3, "does not answer as Android does (boot it into Android)"),
        (without_sysfs, [], 0, ""),
        (
            without_sysfs,
            ["--cores", "big"],
            2,
            "does not say which of its cores are big (give all, or a hexadecimal mask: 0xf0)",
        ),
        (without_sysfs, ["--max-temp", "40"], 2, "does not say how warm it is (leave --max-temp out)"),
        (
            without_sysfs,
            ["--governor", "performance"],
            2,
            "does not let its governor be set to performance (that needs root (adb root))",
        ),
    ],
)
def test_what_a_phone_may_lack(
    phone: VirtualPhone,
    bench: Bench,
    lacking: Callable[[VirtualPhone], None],
    arguments: list[str],
    code: int,
    words: str,
) -> None:
    lacking(phone)
    ended = bench(phone, *arguments)
    assert ended.code == code and words in ended.err, ended.err
    assert all(line.startswith(("error: ", "warning: ")) for line in ended.err.splitlines()), ended.err


def test_programs_may_not_be_executed(make_phone: Callable[..., VirtualPhone], bench: Bench) -> None:
    ended = bench(make_phone(data_bytes=16 << 20, noexec=True))
    assert (
        ended.code == 3 and "does not let programs be executed there, by its mount options or SELinux" in ended.err
    ), ended.err
