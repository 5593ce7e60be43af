"""The two files of a benchmark's result: a table for people, and its numbers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from evit_mobile.files import whole_file


def out_option(default: Path) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """``--out``, as ``write_results`` takes it."""
    return click.option(
        "--out",
        type=click.Path(path_type=Path),
        default=default,
        help="Where to write, .md; the numbers go beside it as .json.",
    )


def write_results(out: Path, markdown: str, document: Any) -> None:
    """Write ``out`` (.md) and, beside it, ``document`` as .json; each is there whole or not at all."""
    out.parent.mkdir(parents=True, exist_ok=True)
    for path, text in ((out, markdown), (out.with_suffix(".json"), json.dumps(document, indent=1) + "\n")):
        with whole_file(path) as temporary:
            temporary.write_text(text)
