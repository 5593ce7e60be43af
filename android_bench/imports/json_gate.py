"""JSON from outside, as fields."""

from __future__ import annotations

import functools
from typing import Any


@functools.lru_cache(maxsize=4)
def fields_of(content: bytes) -> dict[str, Any]:
    """The fields of a JSON document; empty if it is not JSON, or holds none. Numbers are finite."""
    from pydantic_core import from_json

    try:
        document = from_json(content, allow_inf_nan=False)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}
