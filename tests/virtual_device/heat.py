"""How a phone warms up under load, throttles and cools, and what a model that it runs then takes: as equations, whose
course a program plays on the virtual phone.

Time on the phone is what the course says. The program stands still until it has been looked at, so ten minutes pass in
seconds, and neither a slow nor a busy machine changes a figure.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.virtual_device import android
from tests.virtual_device.android import Profile

AMBIENT_C = 31.0
#: At the highest clock: watts, and degrees that they make in the end. Both go with the square of the clock.
FULL_W, FULL_RISE_C = 4.4, 40.0
VOLTAGE_UV = 3_900_000
#: A throttled phone allows this part of its clock, from the one temperature on and until the other.
HELD_BACK, HOT_C, COOL_C = 0.6, 55.0, 48.0

#: Plays /virtual/course: C prints a call, F writes a file ("|" is the end of a line), U forgets that the phone was
#: looked at, L waits until it is.
PLAYER = r"""
static char line[65536], buffer[1 << 20];
setvbuf(stdout, buffer, _IOFBF, sizeof buffer);
double seconds = 0;
for (int i = 1; i < count; i++)
    if (!strncmp(values[i], "--run_seconds=", 14)) seconds = atof(values[i] + 14);
FILE *course = fopen("/virtual/course", "r");
if (!course) return 1;
puts("CALLS 9000 30000 21000 20500 20400");
while (fgets(line, sizeof line, course)) {
    if (line[0] == 'C') {
        if (atoll(line + 2) >= seconds * 1e9) break;
        fputs(line + 2, stdout);
    } else if (line[0] == 'F') {
        char *path = strtok(line + 2, " "), *text = strtok(NULL, "\n"), name[4096];
        snprintf(name, sizeof name, "%s.new", path);
        FILE *file = fopen(name, "w");
        for (char *byte = text; *byte; byte++) fputc(*byte == '|' ? '\n' : *byte, file);
        fclose(file);
        rename(name, path);
    } else if (line[0] == 'U') {
        unlink("/virtual/looked");
    } else {
        if (fflush(stdout)) return 1;
        for (int wait = 0; access("/virtual/looked", F_OK); wait++) {
            if (wait > 12000) return 1;
            usleep(5000);
        }
    }
}
return 0;
"""


@dataclass(frozen=True)
class Heat:
    """A phone at one moment of its course."""

    celsius: float
    is_throttled: bool = False

    @property
    def clock(self) -> float:
        """As a part of the highest."""
        return HELD_BACK if self.is_throttled else 1.0

    @property
    def watts(self) -> float:
        return FULL_W * self.clock**2

    def after(self, seconds: float, tau_s: float) -> Heat:
        """Under load for so long; throttling begins and ends at the end of it."""
        limit = AMBIENT_C + FULL_RISE_C * self.clock**2
        celsius = limit + (self.celsius - limit) * math.exp(-seconds / tau_s)
        return Heat(celsius, celsius > COOL_C if self.is_throttled else celsius >= HOT_C)


@dataclass(frozen=True)
class Course:
    """A model that is called on a phone that warms up.

    Attributes:
        call_ns: what a call takes at the highest clock; every seventh takes a tenth more.
        look_ns: between two looks.
        tau_s: of the heat.
        start_c: at the beginning.
        period_ns: between two frames; None for calls without pause.
    """

    call_ns: int
    look_ns: int
    tau_s: float = 260.0
    start_c: float = AMBIENT_C
    period_ns: int | None = None

    def calls(self, seconds: float) -> Iterator[tuple[int, int, Heat]]:
        """Start, duration, and the heat at its end, of each call."""
        heat, now, before, frame = Heat(self.start_c), 0, 0, 0
        number = 0
        while now < seconds * 1e9:
            if self.period_ns is not None:
                now = max(now, frame * self.period_ns)
                if now >= seconds * 1e9:
                    return
                frame = now // self.period_ns + 1
            taken = round(self.call_ns / heat.clock * (1.1 if number % 7 == 0 else 1.0))
            heat = heat.after((now + taken - before) / 1e9, self.tau_s)
            yield now, taken, heat
            now, number = now + taken, number + 1
            before = now

    def throttled_s(self, seconds: float) -> tuple[float, float]:
        """When it first throttles, and when no more."""
        states = [((start + taken) / 1e9, heat.is_throttled) for start, taken, heat in self.calls(seconds)]
        start_s = next(at_s for at_s, throttled in states if throttled)
        return start_s, next(at_s for at_s, throttled in states if at_s > start_s and not throttled)

    def install(self, root: Path, profile: Profile, seconds: float) -> None:
        """Make it what the player plays on the phone in ``root``."""
        lines, due = ["U"], self.look_ns
        for start, taken, heat in self.calls(seconds):
            lines.append(f"C {start} {taken}")
            end = start + taken
            if end >= due:
                lines += [f"F {path} {text}" for path, text in _state(profile, heat)]
                lines += ["L", "U"]
                due = (end // self.look_ns + 1) * self.look_ns
        android.write(root / "virtual" / "course", "\n".join(lines) + "\n")
        android.set_battery(root, "Discharging", round(FULL_W / VOLTAGE_UV * 1e12), VOLTAGE_UV)


def _state(profile: Profile, heat: Heat) -> Iterator[tuple[str, str]]:
    for cluster in profile.clusters:
        for core in cluster.cores:
            for name in ("scaling_cur_freq", "scaling_max_freq"):
                folder = f"/sys/devices/system/cpu/cpu{core}/cpufreq"
                yield f"{folder}/{name}", f"{round(cluster.max_khz * heat.clock)}|"
    yield "/sys/class/thermal/thermal_zone1/temp", f"{round(heat.celsius * 1000)}|"
    yield "/sys/class/power_supply/battery/current_now", f"{-round(heat.watts / VOLTAGE_UV * 1e12)}|"
    yield "/virtual/dumpsys/thermalservice", f"Thermal Status: {2 if heat.is_throttled else 0}|"
