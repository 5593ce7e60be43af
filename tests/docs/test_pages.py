"""What README, CONTRIBUTING and the pages say about the repository and the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from android_bench.emulator.cpus import CPUS
from converters.parity.differences import CRITERIA
from converters.passes import default_passes
from evit_mobile.errors import EvitMobileError

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


def test_exit_codes_are_those_of_the_errors() -> None:
    page = (ROOT / "docs/reference/exit-codes.md").read_text()
    rows = dict(re.findall(r"^\| (\d+) \| .* \| `(\w+)` \|$", page, re.MULTILINE))
    assert rows == {str(kind.exit_code): kind.__name__ for kind in EvitMobileError.__subclasses__() if _is_ours(kind)}


def _is_ours(kind: type) -> bool:
    return kind.__module__ == "evit_mobile.errors"


def test_the_delegate_page_names_every_pass() -> None:
    page = (ROOT / "docs/explanation/delegate.md").read_text()
    assert [item.name for item in default_passes() if f"`{item.name}`" not in page] == []


def test_the_parity_page_has_the_criteria() -> None:
    page = (ROOT / "docs/explanation/parity.md").read_text()
    stated = {"1e-04": "10⁻⁴", "2e-02": "2 · 10⁻²", "18": "18 dB", "7": "7 dB"}
    for criterion in CRITERIA.values():
        text = f"{criterion.bound:.0e}" if criterion.bound < 1 else f"{criterion.bound:g}"
        assert stated[text] in page


def test_the_emulator_page_names_every_processor() -> None:
    page = (ROOT / "docs/explanation/emulated.md").read_text()
    assert [name for name in CPUS if f"`{name}`" not in page] == []
