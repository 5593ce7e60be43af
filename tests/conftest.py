"""Fixtures that the whole suite shares: converted models come from one conversion cache, made once a run."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from filelock import FileLock

ROOT = Path(__file__).resolve().parent.parent

#: Small enough for any test: the paper's smallest model at half its resolution.
SMALL_MODEL, SMALL_RESOLUTION = "base-r192", 96


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A conversion cache of this run alone, shared by its parallel workers: nothing of the user's is read or changed."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "evit-mobile-cache"
    folder.mkdir(exist_ok=True)
    before = os.environ.get("EVIT_MOBILE_CACHE")
    os.environ["EVIT_MOBILE_CACHE"] = str(folder)
    yield folder
    if before is None:
        del os.environ["EVIT_MOBILE_CACHE"]
    else:
        os.environ["EVIT_MOBILE_CACHE"] = before


@pytest.fixture(scope="session")
def converted(cache: Path) -> Callable[..., Path]:
    """``converted(model, **options)`` is the path of that conversion; each is made once, whichever worker asks first."""
    from converters.pipeline import ConvertOptions, convert_cached

    def convert(model: str, **options: object) -> Path:
        # One conversion at a time: two at once would need twice the memory and do the same work twice.
        with FileLock(cache / "conversions.lock"):
            return convert_cached(model, ConvertOptions(**options))  # type: ignore[arg-type]

    return convert


@pytest.fixture(scope="session")
def small_tflite(converted: Callable[..., Path]) -> Path:
    """base-r192 at 96x96."""
    from evit_mobile.specs import Resolution

    return converted(SMALL_MODEL, resolution=Resolution(SMALL_RESOLUTION, SMALL_RESOLUTION))


@pytest.fixture(scope="session")
def base_r192_tflite(converted: Callable[..., Path]) -> Path:
    """base-r192 at its own resolution."""
    return converted("base-r192")


@pytest.fixture(scope="session")
def base_r224_tflite(converted: Callable[..., Path]) -> Path:
    """base-r224 at its own resolution."""
    return converted("base-r224")
