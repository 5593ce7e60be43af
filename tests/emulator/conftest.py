"""The emulated device, set up once a run; a machine that cannot have it skips, unless it is CI."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from android_bench.emulator.cpus import CPUS
from android_bench.emulator.qemu import Qemu
from android_bench.emulator.root import LITERT_RELEASES, EmulatorRoot, is_administrator, missing, missing_packages, prepare


@pytest.fixture(scope="session")
def root(cache: Path) -> EmulatorRoot:
    """What ``emulator setup`` makes, in this run's own cache; as root the distribution's packages are installed first."""
    packages = missing_packages()
    if packages and is_administrator():
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for arguments in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", *packages]):
            subprocess.run(["apt-get", *arguments], env=environment, stdout=subprocess.DEVNULL, check=False)
    lacking = missing()
    if lacking and os.environ.get("CI") == "true":
        pytest.fail(f"the emulated device cannot run here: {'; '.join(lacking)}")
    if lacking:
        pytest.skip(lacking[0])
    return prepare()


@pytest.fixture(scope="session")
def a76(root: EmulatorRoot) -> Qemu:
    return Qemu(root, CPUS["cortex-a76"], LITERT_RELEASES[0])
