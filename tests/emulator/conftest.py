"""The emulated device, set up once a run; a machine that cannot have it skips, unless it is CI."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from filelock import FileLock

from android_bench.emulator.cpus import CPUS
from android_bench.emulator.qemu import Qemu
from android_bench.emulator.root import LITERT_RELEASES, EmulatorRoot, missing, missing_packages, prepare
from tests import apt


@pytest.fixture(scope="session")
def root(cache: Path) -> EmulatorRoot:
    """What ``emulator setup`` makes, in this run's own cache; as root the distribution's packages are installed
    first.
    """
    with FileLock(cache / "apt.lock"):
        apt.install(missing_packages())
    lacking = missing()
    if lacking and os.environ.get("CI") == "true":
        pytest.fail(f"the emulated device cannot run here: {'; '.join(lacking)}")
    if lacking:
        pytest.skip(lacking[0])
    return prepare()


@pytest.fixture(scope="session")
def a76(root: EmulatorRoot) -> Qemu:
    return Qemu(root, CPUS["cortex-a76"], LITERT_RELEASES[0])
