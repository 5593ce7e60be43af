"""What the host's processor packages drew, by the kernel's counters (RAPL)."""

from __future__ import annotations

from pathlib import Path

#: The packages; cores and memory, which are parts of them, have two numbers in their names.
_COUNTERS = "intel-rapl:[0-9]*"


class PackageEnergy:
    """The counters of this machine's processor packages.

    Args:
        folder: where the kernel shows them. Most systems let only root read them, and most virtual machines have none.
    """

    def __init__(self, folder: Path = Path("/sys/class/powercap")) -> None:
        self._counters = [path for path in sorted(folder.glob(_COUNTERS)) if path.name.count(":") == 1]

    def joules(self) -> float | None:
        """The sum of all packages, from a start of their own; it begins anew at times. None where it cannot be read."""
        try:
            counts = [int((path / "energy_uj").read_text()) for path in self._counters]
        except (OSError, ValueError):
            return None
        return sum(counts) / 1e6 if counts else None
