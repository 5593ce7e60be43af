"""What Android answers: properties, dumpsys, settings, and the files below /sys, made from a profile and moved by a
test.

The commands are scripts for the device's own shell; their state is files below /virtual in the root, which a test may
read and write.
"""

from __future__ import annotations

import shutil
import tomllib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

PROFILES = Path(__file__).parent / "profiles"

#: Commands that Android has and toybox is not built with here; each is a file in /system/bin.
COMMANDS = {
    "getprop": "exec cat /virtual/properties",
    # The last that is asked when the phone is looked at, which heat.py waits for.
    "dumpsys": """
cat "/virtual/dumpsys/$1" || exit
if [ "$1" = thermalservice ]; then : >/virtual/looked; fi""",
    "settings": """
file="/virtual/settings/$2/$3"
case $1 in
get) if [ -e "$file" ]; then cat "$file"; else echo null; fi ;;
put) mkdir -p "/virtual/settings/$2"; echo "$4" >"$file" ;;
delete) rm -f "$file" ;;
*) exit 1 ;;
esac""",
    "cmd": """
[ "$1 $2" = "power set-fixed-performance-mode-enabled" ] || exit 255
echo "$3" >/virtual/fixed_performance""",
    "input": 'echo "$*" >>/virtual/input',
}
#: toybox's commands that Android's /system/bin has too.
TOYBOX = (
    "cat chmod cp df echo egrep fgrep find grep head id kill ln ls mkdir mv nproc od printf ps rm rmdir sed seq "
    "sha256sum sleep sort stat "
    "sync tail taskset test touch tr true uname wc"
).split()


@dataclass(frozen=True)
class Cluster:
    cores: tuple[int, ...]
    part: int
    min_khz: int
    max_khz: int
    capacity: int
    features: str


@dataclass(frozen=True)
class Profile:
    """A device: what it says of itself."""

    android: str
    sdk: int
    memory_kb: int
    properties: dict[str, str]
    clusters: tuple[Cluster, ...]

    def with_two_cores(self) -> Profile:
        """One little core and one big: all that a small machine can run in earnest, and so all that affinity can be
        tested on.
        """
        little, big = self.clusters[0], self.clusters[-1]
        return replace(self, clusters=(replace(little, cores=(0,)), replace(big, cores=(1,))))


def load_profile(name: str) -> Profile:
    """The profile in ``profiles/<name>.toml``."""
    content: dict[str, Any] = tomllib.loads((PROFILES / f"{name}.toml").read_text())
    clusters = tuple(Cluster(**{**cluster, "cores": tuple(cluster["cores"])}) for cluster in content.pop("clusters"))
    return Profile(clusters=clusters, **content)


def install(root: Path, profile: Profile) -> None:
    """Make ``root`` answer as ``profile`` says: cool, charged, its clocks at their maximum."""
    binaries = root / "system" / "bin"
    binaries.mkdir(parents=True, exist_ok=True)
    (binaries / "sh").unlink(missing_ok=True)
    (binaries / "sh").symlink_to("/bin/mksh")
    for name in TOYBOX:
        (binaries / name).symlink_to("/bin/toybox")
    for name, script in COMMANDS.items():
        write(binaries / name, f"#!/system/bin/sh\n{script.strip()}\n").chmod(0o755)
    _install_properties(root, profile)
    for cluster in profile.clusters:
        for core in cluster.cores:
            set_clock(root, core, cluster.max_khz)
            set_clock_limit(root, core, cluster.max_khz)
            folder = _cpu(root, core)
            write(folder / "cpufreq" / "cpuinfo_max_freq", f"{cluster.max_khz}\n")
            write(folder / "cpufreq" / "cpuinfo_min_freq", f"{cluster.min_khz}\n")
            write(folder / "cpufreq" / "scaling_governor", "schedutil\n")
            write(folder / "cpu_capacity", f"{cluster.capacity}\n")
    count = sum(len(cluster.cores) for cluster in profile.clusters)
    for name in ("possible", "present", "online"):
        write(root / "sys/devices/system/cpu" / name, f"0-{count - 1}\n")
    set_temperature(root, 31.0)
    set_thermal_status(root, 0)


def _install_properties(root: Path, profile: Profile) -> None:
    properties = {
        "ro.build.version.release": profile.android,
        "ro.build.version.sdk": str(profile.sdk),
        **profile.properties,
    }
    write(root / "virtual" / "properties", "".join(f"[{name}]: [{value}]\n" for name, value in properties.items()))
    processors = [
        f"processor\t: {core}\nBogoMIPS\t: 38.40\nFeatures\t: {cluster.features}\nCPU implementer\t: 0x41\nCPU "
        "architecture: 8\n"
        f"CPU variant\t: 0x1\nCPU part\t: {cluster.part:#05x}\nCPU revision\t: 0\n"
        for cluster in profile.clusters
        for core in cluster.cores
    ]
    write(root / "virtual" / "cpuinfo", "\n".join(processors))
    write(
        root / "virtual" / "dumpsys" / "battery",
        "Current Battery Service state:\n  AC powered: false\n  USB powered: true\n"
        "  level: 87\n  scale: 100\n  temperature: 274\n",
    )


def set_clock(root: Path, core: int, khz: int) -> None:
    write(_cpu(root, core) / "cpufreq" / "scaling_cur_freq", f"{khz}\n")


def set_clock_limit(root: Path, core: int, khz: int) -> None:
    write(_cpu(root, core) / "cpufreq" / "scaling_max_freq", f"{khz}\n")


def set_temperature(root: Path, celsius: float) -> None:
    """Of the processor, by the kernel's thermal zones; the battery stays cool."""
    for zone, (name, value) in enumerate([("cpu-0-0-usr", celsius - 1), ("cpu-1-3-usr", celsius), ("battery", 27.4)]):
        folder = root / "sys/class/thermal" / f"thermal_zone{zone}"
        write(folder / "type", f"{name}\n")
        write(folder / "temp", f"{round(value * 1000)}\n")


def set_battery(root: Path, status: str, current_ua: int, voltage_uv: int) -> None:
    """What the kernel says of the battery."""
    folder = root / "sys/class/power_supply/battery"
    for name, value in (("status", status), ("current_now", -current_ua), ("voltage_now", voltage_uv)):
        write(folder / name, f"{value}\n")


def set_thermal_status(root: Path, status: int) -> None:
    write(
        root / "virtual/dumpsys/thermalservice",
        f"IsStatusOverride: false\nThermalEventListeners:\n\tcallbacks: 2\n"
        f"Thermal Status: {status}\nCached temperatures:\nHAL Ready: true\n",
    )


def _cpu(root: Path, core: int) -> Path:
    return root / f"sys/devices/system/cpu/cpu{core}"


def write(path: Path, text: str) -> Path:
    """Make or replace a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Replaced, not rewritten: a reader sees the old value or the new one, and a file shared with another root stays as
    # it is.
    new = path.with_name(path.name + ".new")
    new.write_text(text)
    if path.exists():
        shutil.copymode(path, new)
    return new.replace(path)
