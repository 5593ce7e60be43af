"""LLVM's tools, which the distribution packages; a machine that cannot have them skips, unless it is CI."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from filelock import FileLock

from android_bench.estimate.tools import PACKAGE, Llvm, find_llvm, missing
from tests import apt


@pytest.fixture(scope="session")
def llvm(cache: Path) -> Llvm:
    """llvm-mca and llvm-objdump; as root they are installed first."""
    if missing():
        with FileLock(cache / "apt.lock"):
            apt.install([PACKAGE])
    lacking = missing()
    if lacking and os.environ.get("CI") == "true":
        pytest.fail(f"a latency cannot be estimated here: {lacking[0]}")
    if lacking:
        pytest.skip(lacking[0])
    return find_llvm()
