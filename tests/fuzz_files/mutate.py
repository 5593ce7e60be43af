"""Changes of some places in a document, or of some bytes."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any

from hypothesis import strategies as st

Path = tuple[Any, ...]

#: Numbers at the ends of the types that formats have.
NUMBERS = [0, 1, -1, 2, 7, 127, 128, 255, 256, 2**15, 2**31 - 1, 2**31, 2**32, -(2**31), 2**63 - 1, -(2**63), 10**30]
TEXTS = ["", "x", "../../x", "os:abort", "\x1b[2J", "\u202etxt", "[red]", "1e999", "nan", "0" * 300]
ANYTHING: st.SearchStrategy[Any] = st.one_of(
    st.sampled_from([None, True, [], {}, [[]], *NUMBERS, *TEXTS]), st.integers(), st.floats(), st.text(max_size=20)
)


def places(tree: Any, path: Path = ()) -> Iterator[Path]:
    """The way to every value of a document; of a long list to its first values."""
    if path:
        yield path
    for key, value in _parts(tree):
        yield from places(value, (*path, key))


def _parts(tree: Any) -> Sequence[tuple[Any, Any]]:
    if isinstance(tree, dict):
        return list(tree.items())
    return list(enumerate(tree[:16])) if isinstance(tree, list) else []


def get(tree: Any, path: Path) -> Any:
    """The value at ``path``."""
    for key in path:
        tree = tree[key]
    return tree


def put(tree: Any, path: Path, value: Any) -> Any:
    """``tree`` with ``value`` at ``path``; what leads there is copied, the rest shared."""
    if not path:
        return value
    changed = copy.copy(tree)
    changed[path[0]] = put(tree[path[0]], path[1:], value)
    return changed


@st.composite
def mutated(draw: st.DrawFn, document: Any, values: st.SearchStrategy[Any] = ANYTHING) -> Any:
    """``document`` with one to three values changed, dropped or doubled."""
    for _ in range(draw(st.integers(1, 3))):
        where = draw(st.sampled_from(list(places(document))))
        inside = get(document, where[:-1])
        kind = draw(st.sampled_from(["change", "change", "change", "drop", "double"]))
        if kind == "drop" and isinstance(inside, dict):
            inside = {key: value for key, value in inside.items() if key != where[-1]}
            document = put(document, where[:-1], inside)
        elif kind == "double" and isinstance(inside, list):
            document = put(document, where[:-1], [*inside, get(document, where)])
        else:
            document = put(document, where, draw(values))
        if not list(places(document)):
            break
    return document


@st.composite
def damaged(draw: st.DrawFn, content: bytes) -> bytes:
    """``content`` cut short, or with some of its bytes changed."""
    if draw(st.booleans()):
        return content[: draw(st.integers(0, len(content)))]
    changed = bytearray(content)
    for _ in range(draw(st.integers(1, 8))):
        changed[draw(st.integers(0, len(changed) - 1))] = draw(st.integers(0, 255))
    return bytes(changed)
