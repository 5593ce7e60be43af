"""Writing and reading result files."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from pydantic import ValidationError

from evit_mobile.documents import first_fault, read_limited
from evit_mobile.errors import RequestError
from evit_mobile.files import whole_file
from evit_mobile.results.record import SCHEMA_VERSION, ResultSet

EXPECTED = "expected a file written by evit-mobile bench"
#: Bytes that a result file may have.
LARGEST_FILE = 2**28


def save(results: ResultSet, path: Path) -> None:
    """Write ``results`` to ``path``, whole or not at all; an existing file is replaced."""
    with whole_file(path) as temporary:
        temporary.write_text(results.model_dump_json(indent=1, exclude_none=True) + "\n", encoding="utf-8")


def load(path: Path) -> ResultSet:
    """Read a result file.

    Raises:
        RequestError: the file cannot be read, is not JSON (or is truncated), is not a result file, or is of a newer
            version.
    """
    content = read_limited(path, "result file", LARGEST_FILE)
    _check_version(path, content)
    try:
        return ResultSet.model_validate_json(content)
    except ValidationError as error:
        raise RequestError(f"{path} is not a valid result file: {first_fault(error)}", hint="measure again") from error


def _check_version(path: Path, content: bytes) -> None:
    from pydantic_core import from_json

    try:
        document = from_json(content)
    except ValueError as error:
        raise RequestError(f"{path} is not JSON, or is truncated: {error}", hint=EXPECTED) from error
    version = document.get("schema_version") if isinstance(document, dict) else None
    if not isinstance(version, int):
        raise RequestError(f"{path} is not a result file: it has no schema_version", hint=EXPECTED)
    if version > SCHEMA_VERSION:
        raise RequestError(
            f"{path} was written by a newer evit-mobile (schema {min(version, 999)}, this one reads up to "
            f"{SCHEMA_VERSION})",
            hint="upgrade evit-mobile",
        )


def file_name(device: str, at: datetime) -> str:
    """``<device>-<time>.json``, with characters that are unsafe in a file name replaced."""
    safe = "".join(char if char.isascii() and (char.isalnum() or char in "._") else "-" for char in device).strip("-.")
    return f"{safe or 'device'}-{at:%Y%m%dT%H%M%SZ}.json"
