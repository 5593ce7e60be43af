"""The examples in the public functions' docstrings run, and give what they show."""

from __future__ import annotations

import doctest
import inspect
from pathlib import Path

import pytest

import evit_mobile as em

PUBLIC = [getattr(em, name) for name in em.__all__]
FUNCTIONS = [item for item in PUBLIC if inspect.isfunction(item)]
WITH_EXAMPLES = [em, *FUNCTIONS, em.Conversion, em.Conversion.save, em.Model]


@pytest.mark.parametrize("item", WITH_EXAMPLES, ids=lambda item: item.__name__)
def test_examples(item: object, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (example,) = doctest.DocTestFinder(recurse=False).find(item, globs={})
    assert example.examples
    failures: list[str] = []
    doctest.DocTestRunner().run(example, out=failures.append)
    assert not failures, "".join(failures)


@pytest.mark.parametrize(
    "item", [*FUNCTIONS, em.Conversion.save, em.Model.__call__], ids=lambda item: item.__qualname__
)
def test_docstrings_have_their_sections(item: object) -> None:
    text = inspect.getdoc(item) or ""
    sections = ["Args:", "Returns:", "Raises:"] + ([] if item is em.Model.__call__ else ["Examples:"])
    assert [section for section in sections if section not in text] == []


def test_every_public_name_is_there() -> None:
    assert set(em.__all__) <= set(dir(em))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        em.nothing  # noqa: B018
