"""What a phone draws from its battery."""

from __future__ import annotations

import re

_FILE = re.compile(r"^/sys/class/power_supply/battery/(status|current_now|voltage_now):(.*)$", re.MULTILINE)


def drawn_w(text: str) -> float | None:
    """Watts, by the battery's current and voltage; None where it does not say, or is being charged: then the current is
    the charger's, too.

    Args:
        text: the kernel's files as ``grep -H`` shows them: µA of either sign, µV, and a word.
    """
    files = {name: value.strip() for name, value in _FILE.findall(text)}
    numbers = [files.get(name, "") for name in ("current_now", "voltage_now")]
    if files.get("status") != "Discharging" or not all(re.fullmatch(r"-?\d{1,12}", number) for number in numbers):
        return None
    current_ua, voltage_uv = map(int, numbers)
    return abs(current_ua) * voltage_uv / 1e12 if current_ua and voltage_uv > 0 else None
