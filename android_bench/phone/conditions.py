"""The state of an Android device: read, and awaited. What is changed for a time stands in ``adjustments.py``."""

from __future__ import annotations

import re
import shlex
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Callable, Sequence

from android_bench.device import UnusableDeviceError
from android_bench.phone.adb import Adb
from android_bench.phone.battery import drawn_w
from android_bench.phone.facts import Processor
from evit_mobile.results.conditions import Conditions

#: Seconds between two looks at a device that is to cool.
POLL_S = 1.0

_SAMPLE = """grep -sH '' /sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_cur_freq \
/sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_max_freq \
/sys/class/thermal/thermal_zone*/type /sys/class/thermal/thermal_zone*/temp \
/sys/class/power_supply/battery/status /sys/class/power_supply/battery/current_now \
/sys/class/power_supply/battery/voltage_now
echo '#load'
cat /proc/loadavg
dumpsys battery
dumpsys thermalservice
true"""
_CLOCK = re.compile(r"^/sys/devices/system/cpu/cpu(\d+)/cpufreq/scaling_(cur|max)_freq:(\d+)$", re.MULTILINE)
_ZONE = re.compile(r"^/sys/class/thermal/thermal_zone(\d+)/(type|temp):(.*)$", re.MULTILINE)
#: "Temperature{mValue=34.1, mType=0, mName=CPU0, mStatus=0}" below "Current temperatures from HAL", where Android shows
#: its sensors.
_HAL = re.compile(r"Temperature\{mValue=([-\d.]+), mType=(\d+), mName=([^,}]+), mStatus=\d+\}")


def sample(adb: Adb) -> Conditions:
    """The state right now.

    Raises:
        AdbError: the device cannot be asked.
    """
    return look(adb)[0]


def look(adb: Adb) -> tuple[Conditions, float | None]:
    """The state right now, and what the whole device draws from its battery, watts; see ``battery.drawn_w``.

    Raises:
        AdbError: the device cannot be asked.
    """
    text = adb.shell(_SAMPLE).stdout
    return _parsed(text), drawn_w(text)


def _parsed(text: str) -> Conditions:
    files, _, services = text.partition("#load\n")
    clocks: dict[str, dict[str, int]] = {"cur": {}, "max": {}}
    for core, which, khz in _CLOCK.findall(files):
        clocks[which][core] = int(khz)
    load = re.match(r"([\d.]+) ", services)
    level = re.search(r"^\s*level: (\d+)$", services, re.MULTILINE)
    status = re.search(r"^\s*Thermal Status: (\d+)$", services, re.MULTILINE)
    return Conditions(
        at=datetime.now(UTC),
        load_average_1min=float(load[1]) if load else None,
        clocks_khz=clocks["cur"],
        clock_limits_khz=clocks["max"],
        temperatures_celsius=_temperatures(files, services),
        thermal_status=int(status[1]) if status else None,
        battery_percent=float(level[1]) if level else None,
    )


def _temperatures(files: str, services: str) -> dict[str, float]:
    """By sensor. The kernel gives millidegrees, and absurd values for sensors that are off."""
    zones: dict[str, dict[str, str]] = {}
    for zone, field, value in _ZONE.findall(files):
        zones.setdefault(zone, {})[field] = value.strip()
    celsius = {
        f"{zone['type']}": int(zone["temp"]) / 1000
        for zone in zones.values()
        if "type" in zone and re.fullmatch(r"-?\d+", zone.get("temp", ""))
    }
    current = services.partition("Current temperatures from HAL:")[2].partition("Current cooling devices")[0]
    celsius.update({name: float(value) for value, _, name in _HAL.findall(current)})
    return {name: value for name, value in celsius.items() if 0 < value < 150}


def hottest(conditions: Conditions) -> float | None:
    """The highest temperature of the processor's sensors (those with cpu in their name), of all where it has none, in
    degrees Celsius.
    """
    values = conditions.temperatures_celsius
    processor = [value for name, value in values.items() if "cpu" in name.lower()]
    return max(processor or values.values(), default=None)


@dataclass(frozen=True)
class Limits:
    """When a device is fit to be measured.

    Attributes:
        max_temperature_celsius: ``hottest`` at most; None takes any.
        timeout_s: how long to wait for it.
        cores: the cores whose clocks must be free.
    """

    max_temperature_celsius: float | None
    timeout_s: float
    cores: Sequence[Processor]

    def obstacle(self, conditions: Conditions) -> str | None:
        """Why the device is not fit to be measured now; None if it is."""
        if conditions.is_throttled:
            return f"it is throttling (thermal status {conditions.thermal_status})"
        temperature = hottest(conditions)
        if (
            self.max_temperature_celsius is not None
            and temperature is not None
            and temperature > self.max_temperature_celsius
        ):
            return f"it is at {temperature:.1f} °C (allowed: {self.max_temperature_celsius:g} °C)"
        return conditions.held_back({core.index: core.max_clock_khz for core in self.cores})


def await_fit(look: Callable[[], Conditions], limits: Limits, say: Callable[[str], None], serial: str) -> Conditions:
    """Wait until the device is fit to be measured; its conditions then.

    Args:
        look: samples the conditions. say: gets a message about what holds it up.

    Raises:
        UnusableDeviceError: it still is not fit after ``limits.timeout_s``.
    """
    deadline = time.monotonic() + limits.timeout_s
    while True:
        conditions = look()
        obstacle = limits.obstacle(conditions)
        if obstacle is None:
            return conditions
        left = deadline - time.monotonic()
        if left <= 0:
            raise UnusableDeviceError(
                f"device {serial} did not become fit to be measured within {limits.timeout_s:g} s: {obstacle}",
                hint="let it cool, take it out of its case, switch power saving off; or raise --max-temp or "
                "--cool-timeout",
            )
        say(f"waiting for {serial}: {obstacle}, {left:.0f} s left")
        time.sleep(min(POLL_S, left))


def check_clocks_under_load(adb: Adb, cores: Sequence[Processor], mask: int | None) -> None:
    """See that a busy core leaves its lowest clock: a device may hold it there and report neither heat nor throttling.

    Raises:
        UnusableDeviceError: all of ``cores`` stay at their lowest clock.
    """
    known = [
        core for core in cores if core.min_clock_khz and core.max_clock_khz and core.min_clock_khz < core.max_clock_khz
    ]
    if not known:
        return
    files = " ".join(f"/sys/devices/system/cpu/cpu{core.index}/cpufreq/scaling_cur_freq" for core in known)
    # The loop is the shell's own: long enough for a governor to notice (10 ms and more), and on the cores that are to
    # be measured.
    busy = f"i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; grep -sH '' {files}"
    command = f"sh -c {shlex.quote(busy)}"
    text = adb.shell(f"taskset {mask:x} {command}" if mask is not None else command).stdout
    clocks = {int(core): int(khz) for core, which, khz in _CLOCK.findall(text) if which == "cur"}
    slow = [core for core in known if clocks.get(core.index, core.max_clock_khz or 0) <= (core.min_clock_khz or 0)]
    if len(slow) == len(known):
        core = slow[-1]
        raise UnusableDeviceError(
            f"device {adb.serial} holds its clocks at their minimum under load: core {core.index} at "
            f"{(core.min_clock_khz or 0) / 1e3:.0f} "
            f"MHz of {(core.max_clock_khz or 0) / 1e3:.0f} MHz",
            hint="charge it, switch power saving off, and let it cool",
        )
