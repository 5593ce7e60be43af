"""What ``verify --json`` said, read again."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from converters.parity.differences import Difference
from converters.parity.verify import ParityReport
from evit_mobile.documents import first_fault, read_limited
from evit_mobile.errors import RequestError

#: Bytes that such a file may have: a report of 16 resolutions and 1000 layers has three million.
LARGEST_REPORT = 2**24
EXPECTED = "evit-mobile verify FILE.tflite --json > parity.json writes one"
_FIGURES = tuple(field.name for field in dataclasses.fields(Difference))


def read_reports(path: Path) -> list[ParityReport]:
    """The reports in a file, one a signature.

    Raises:
        RequestError: the file cannot be read, or is not what ``verify --json`` prints.
    """
    from pydantic import TypeAdapter, ValidationError
    from pydantic_core import from_json

    content = read_limited(path, "parity report", LARGEST_REPORT)
    try:
        document = from_json(content)
    except ValueError as error:
        raise RequestError(f"{path} is not JSON, or is truncated: {error}", hint=EXPECTED) from error
    signatures = document.get("signatures") if isinstance(document, dict) else None
    entries = [*signatures.values()] if isinstance(signatures, dict) else [document]
    try:
        return TypeAdapter(list[ParityReport]).validate_python([_nested(entry) for entry in entries])
    except ValidationError as error:
        raise RequestError(f"{path} is not a parity report: {first_fault(error)}", hint=EXPECTED) from error


def _nested(entry: Any) -> Any:
    """A report whose rows hold their figures as ``ParityRow`` does; whatever is no report stays as it is."""
    rows = entry.get("rows") if isinstance(entry, Mapping) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        return entry
    nested = [{**row, "difference": {name: row.get(name) for name in _FIGURES}} for row in rows]
    return {**entry, "rows": nested}
