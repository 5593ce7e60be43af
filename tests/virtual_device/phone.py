"""A virtual Arm64 Android phone behind real adb.

The adb client and server are the real ones; the programs that run on the phone are arm64 programs, under QEMU; only the
device side of the wire protocol (``adbd.py``) and what Android says of its hardware (``android.py``) are ours.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from android_bench.emulator.root import LITERT_RELEASES, EmulatorRoot
from tests.virtual_device import android
from tests.virtual_device.android import Profile

ADBD = Path(__file__).with_name("adbd.py")


class VirtualPhone:
    """A phone in a folder of its own.

    Args:
        system: the arm64 system and the library that runs models; nothing in it is changed.
        folder: where the phone's files are to be; absent.
        profile: what it says of itself.
        data_bytes: the size of /data; None for this machine's own disk, where ``data`` can be looked at from outside.
        noexec: nothing on such a /data of its own can be executed.
    """

    def __init__(
        self, system: EmulatorRoot, folder: Path, profile: Profile, data_bytes: int | None = None, noexec: bool = False
    ) -> None:
        self.root, self.profile = folder, profile
        self._data = ["--data-bytes", str(data_bytes)] if data_bytes else []
        self._data += ["--noexec"] if noexec else []
        self._process: subprocess.Popen[str] | None = None
        self.port = 0
        # Device nodes are no files that could be copied; a phone sees this machine's /dev.
        shutil.copytree(
            system.root, folder, symlinks=True, ignore=lambda path, _: ["dev"] if Path(path) == system.root else []
        )
        for name in ("dev", "proc"):
            (folder / name).mkdir(exist_ok=True)
        # Where the dynamic loader looks by itself.
        shutil.copy(system.litert[LITERT_RELEASES[-1]], folder / "usr" / "lib" / "libLiteRt.so")
        android.install(folder, profile)

    @property
    def serial(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def data(self) -> Path:
        """/data/local/tmp, from outside."""
        return self.root / "data" / "local" / "tmp"

    def start(self) -> VirtualPhone:
        """Switch it on; the port stays the same from the first time on."""
        qemu = shutil.which("qemu-aarch64-static")
        assert qemu is not None
        command = [
            "unshare",
            "--user",
            "--map-root-user",
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
            sys.executable,
            str(ADBD),
        ]
        command += ["--root", str(self.root), "--qemu", qemu, "--port", str(self.port), *self._data]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.port = int(self._answer())
        return self

    def stop(self) -> None:
        """Switch it off, as by pulling the battery; all its programs end."""
        if self._process is not None:
            # --kill-child takes the first process of the namespace along, and that one all others.
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                assert pipe is not None
                pipe.close()
            self._process = None

    def fault(self, **values: object) -> None:
        """Set fields of ``adbd.Faults``."""
        assert self._process is not None and self._process.stdin is not None
        self._process.stdin.write(json.dumps(values) + "\n")
        self._process.stdin.flush()
        self._answer()

    def _answer(self) -> str:
        assert self._process is not None and self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the virtual phone did not start; its words are on stderr"
        return line.strip()

    def set_temperature(self, celsius: float) -> None:
        android.set_temperature(self.root, celsius)

    def set_thermal_status(self, status: int) -> None:
        android.set_thermal_status(self.root, status)

    def set_clock(self, khz: int, cores: Sequence[int] | None = None) -> None:
        """The clock at which ``cores`` (None: all) run."""
        for core in self.cores if cores is None else cores:
            android.set_clock(self.root, core, khz)

    def set_clock_limit(self, khz: int, cores: Sequence[int] | None = None) -> None:
        """The clock that the kernel allows ``cores`` (None: all)."""
        for core in self.cores if cores is None else cores:
            android.set_clock_limit(self.root, core, khz)

    @property
    def cores(self) -> list[int]:
        return [core for cluster in self.profile.clusters for core in cluster.cores]

    @property
    def governors(self) -> set[str]:
        return {
            path.read_text().strip()
            for path in self.root.glob("sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor")
        }

    def state(self, name: str) -> str | None:
        """A file of the phone's state, as ``fixed_performance`` or ``settings/global/stay_on_while_plugged_in``."""
        path = self.root / "virtual" / name
        return path.read_text().strip() if path.exists() else None
