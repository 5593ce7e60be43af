"""What README and CONTRIBUTING promise about the repository."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent


def test_the_readme_is_one_page() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 120


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_links_lead_to_files(name: str) -> None:
    """Links of the two pages that the site's own check does not see."""
    targets = re.findall(r"\]\(([^)#]+)\)", (ROOT / name).read_text())
    missing = [target for target in targets if "://" not in target and not (ROOT / target).exists()]
    assert missing == []


def test_every_path_in_contributing_exists() -> None:
    names = re.findall(r"`((?:evit_mobile|converters|android_bench|benchmarks|docs|tests)/[^`\s]*)`", _contributing())
    assert len(names) > 20
    assert [name for name in names if not (ROOT / name).exists()] == []


def test_contributing_answers_ten_questions() -> None:
    questions = re.findall(r"^\| Where .*\? \| .* \|$", _contributing(), re.MULTILINE)
    assert len(questions) >= 10


def test_every_page_is_in_the_site() -> None:
    """MkDocs warns of pages that the navigation leaves out only on request; here they fail."""
    navigation = (ROOT / "mkdocs.yml").read_text()
    pages = [str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md")]
    assert [page for page in pages if page not in navigation] == []


def _contributing() -> str:
    return (ROOT / "CONTRIBUTING.md").read_text()
