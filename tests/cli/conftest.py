"""What tests of commands share."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.accuracy import shapes


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of pictures to calibrate on."""
    folder = tmp_path_factory.mktemp("photos")
    for seed in range(16):
        shapes.draw(seed).image.save(folder / f"{seed}.png")
    return folder
