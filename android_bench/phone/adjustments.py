"""What is set on an Android device for the time of measuring, and put back.

It is put back when we leave; when we are killed or the cable is pulled; and, where the device itself went down, by
whoever measures on it next. The commands that put it back are written down on the device before anything is changed, in
a journal. A shell on the device guards it: its stdin ends when we do, and then it carries the journal out.
"""

from __future__ import annotations

import re
import secrets
import shlex
import subprocess
from dataclasses import dataclass

from android_bench.phone.adb import Adb
from android_bench.phone.errors import AdbError
from evit_mobile.errors import RequestError

#: Seconds that the guard may take to end.
_END_S = 5.0

#: Of the guard and of whoever restores, one alone carries a journal out: the one that could rename it.
_CARRY_OUT = 'carry_out() { mv "$1" "$1.now" 2>/dev/null || return 0; sh "$1.now"; rm -f "$1.now"; }'


@dataclass(frozen=True)
class Wishes:
    """What is to be set for the time of measuring; nothing is unless it is asked for."""

    fixed_performance: bool = False
    stay_awake: bool = False
    governor: str | None = None


class Adjustments:
    """Sets what is wished, and puts it back.

    Args:
        adb: the device.
        folder: a folder on the device that is ours, for the journal.
    """

    def __init__(self, adb: Adb, folder: str) -> None:
        self._adb, self._folder = adb, folder
        # A name of its own, so that a guard that is late does not undo what the next process has set.
        self._journal = f"{folder}/restore-{secrets.token_hex(4)}"
        self._wishes = Wishes()
        self._guard: subprocess.Popen[bytes] | None = None

    def restore(self) -> None:
        """Put back whatever is written down, even if the process that wrote it has died."""
        # One that is being carried out is left to end; one that was cut short in that, as by an empty battery, is begun
        # anew.
        self._adb.shell(
            f"{_CARRY_OUT}; cd {self._folder} 2>/dev/null || exit 0; left=25; "
            "while [ $left -gt 0 ] && ls restore-*.now >/dev/null 2>&1; do sleep 0.2; left=$((left-1)); done; "
            'for file in restore-*; do [ -e "$file" ] || continue; '
            'case $file in *.now) sh "$file"; rm -f "$file" ;; *) carry_out "$file" ;; esac; done'
        )

    def apply(self, wishes: Wishes) -> None:
        """Set what is wished.

        Raises:
            RequestError: the device does not allow it. AdbError: it cannot be written down how to put it back.
        """
        self.release()
        if wishes == Wishes():
            return
        self._wishes = wishes
        self._guard = self._adb.hold(
            f"trap '' HUP; {_CARRY_OUT}; cat >/dev/null; carry_out {shlex.quote(self._journal)}"
        )
        if wishes.fixed_performance:
            self._change(
                "cmd power set-fixed-performance-mode-enabled true",
                "cmd power set-fixed-performance-mode-enabled false",
                "has no fixed-performance mode",
                "it is there from Android 11 on, where the maker provides it",
            )
        if wishes.stay_awake:
            name = "stay_on_while_plugged_in"
            before = self._adb.shell(f"settings get global {name}").stdout.strip()
            undo = (
                f"settings put global {name} {shlex.quote(before)}"
                if before.isdigit()
                else f"settings delete global {name}"
            )
            change = f"settings put global {name} 7 && input keyevent KEYCODE_WAKEUP"
            self._change(change, undo, "cannot be kept awake", "switch its screen on")
        if wishes.governor is not None:
            self._set_governor(wishes.governor)

    def renew(self) -> None:
        """Set again what the guard has put back, where the connection was lost and is there again.

        Raises:
            as ``apply``.
        """
        if self._guard is not None and self._guard.poll() is not None:
            wishes = self._wishes
            self.restore()
            self.apply(wishes)

    def release(self) -> None:
        """Let the guard go: it puts back what is still written down. It does not matter whether the device can be
        reached.
        """
        if self._guard is None:
            return
        guard, self._guard, self._wishes = self._guard, None, Wishes()
        assert guard.stdin is not None
        guard.stdin.close()
        try:
            guard.wait(_END_S)
        except subprocess.TimeoutExpired:
            guard.kill()
            guard.wait()

    def _set_governor(self, governor: str) -> None:
        files = "/sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor"
        before = re.findall(r"^(/sys/\S+):(\w+)$", self._adb.shell(f"grep -sH '' {files}").stdout, re.MULTILINE)
        undo = "; ".join(f"echo {name} >{path}" for path, name in before)
        quoted = shlex.quote(governor)
        change = (
            f'for file in {files}; do echo {quoted} >$file || exit 1; [ "$(cat $file)" = {quoted} ] || exit 1; done'
        )
        self._change(
            change, undo or "true", f"does not let its governor be set to {governor}", "that needs root (adb root)"
        )

    def _change(self, change: str, undo: str, words: str, hint: str) -> None:
        path = shlex.quote(self._journal)
        # Written down and on the disk before anything is changed.
        noted = self._adb.shell(f"echo {shlex.quote(undo)} >>{path} && sync {path}")
        if noted.exit_code != 0:
            lines = (noted.stderr or noted.stdout).strip().splitlines()
            raise AdbError(
                f"device {self._adb.serial} cannot note how to put its settings back{f': {lines[0]}' if lines else ''}",
                hint="free some space on it",
                serial=self._adb.serial,
            )
        if self._adb.shell(change).exit_code != 0:
            raise RequestError(f"device {self._adb.serial} {words}", hint=hint)
