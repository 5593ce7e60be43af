"""Tables in the README that a benchmark writes: each between ``<!-- NAME -->`` and ``<!-- /NAME -->``."""

from __future__ import annotations

from pathlib import Path

from evit_mobile.files import whole_file

README = Path(__file__).resolve().parent.parent / "README.md"


def update_readme(name: str, text: str, path: Path = README) -> None:
    """Put ``text`` in place of what stands between the marks called ``name``.

    Raises:
        ValueError: the file has no such marks.
    """
    content = path.read_text()
    first, last = f"<!-- {name} -->\n", f"<!-- /{name} -->"
    before, found, rest = content.partition(first)
    _, closed, after = rest.partition(last)
    if not (found and closed):
        raise ValueError(f"{path} has no {first.strip()} … {last}")
    with whole_file(path) as temporary:
        temporary.write_text(f"{before}{first}{text.rstrip()}\n{last}{after}")
