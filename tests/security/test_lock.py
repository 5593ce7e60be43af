"""The tested set is locked: a version and hashes for every dependency, and no word on where to fetch it."""

from __future__ import annotations

from pathlib import Path

from packaging.requirements import Requirement

LOCK = Path(__file__).resolve().parents[2] / "constraints.txt"


def test_each_dependency_has_one_version_and_its_hashes() -> None:
    lines = [line for line in LOCK.read_text().replace("\\\n", "").splitlines() if not line.startswith("#")]
    for line in lines:
        text, *hashes = line.split("--hash=sha256:")
        (pin,) = Requirement(text).specifier
        assert pin.operator == "=="
        assert hashes and all(len(value.strip()) == 64 for value in hashes), text
    assert len(lines) > 100
    assert "://" not in LOCK.read_text() and "--index" not in LOCK.read_text()
