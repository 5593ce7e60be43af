"""Options and helpers that several commands share."""

from __future__ import annotations

import contextlib
import json
from typing import Any, Iterator

import click


json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout and nothing else.")


def print_json(value: Any) -> None:
    """Print one JSON document on stdout."""
    click.echo(json.dumps(value, indent=2))


@contextlib.contextmanager
def progress(text: str) -> Iterator[None]:
    """Show ``text`` with a spinner on stderr while the body runs; silent when stderr is not a terminal."""
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield
        return
    with console.status(text):
        yield
