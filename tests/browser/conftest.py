"""A real headless Chromium, the distribution's; a machine without one skips, unless it is CI."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock
from playwright.sync_api import Browser, sync_playwright

from tests import apt

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")


def _program() -> str | None:
    return next((found for name in PROGRAMS if (found := shutil.which(name)) is not None), None)


@pytest.fixture(scope="session")
def browser(cache: Path) -> Iterator[Browser]:
    with FileLock(cache / "apt.lock"):
        if _program() is None:
            apt.install(["chromium", "fonts-dejavu-core"])
    program = _program()
    if program is None:
        if os.environ.get("CI") == "true":
            pytest.fail("there is no Chromium: apt install chromium")
        pytest.skip("there is no Chromium: apt install chromium")
    with sync_playwright() as playwright:
        # Chromium's sandbox refuses to run as root.
        chromium = playwright.chromium.launch(executable_path=program, chromium_sandbox=os.geteuid() != 0)
        yield chromium
        chromium.close()
