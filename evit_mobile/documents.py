"""The gate for text that comes from outside: so many bytes and no more, YAML without bombs, faults in one line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from evit_mobile.errors import RequestError

if TYPE_CHECKING:
    from pydantic import ValidationError

#: Bytes of a YAML file, far above any of ours. Its aliases could make much of little, so their number is bounded too.
LARGEST_YAML, MOST_ALIASES = 2**20, 100


def read_limited(path: Path, what: str, limit: int) -> bytes:
    """The file's content, whatever kind of file it is.

    Args:
        what: it should be, for errors, e.g. ``suite``.
        limit: in bytes.

    Raises:
        RequestError: it cannot be read, or is larger than ``limit``.
    """
    try:
        with path.open("rb") as file:
            content = file.read(limit + 1)
    except OSError as error:
        raise RequestError(f"{what} {path} cannot be read: {error.strerror}") from error
    if len(content) > limit:
        raise RequestError(f"{path} is too large for a {what}: the limit is {limit} bytes")
    return content


def read_text(path: Path, what: str, limit: int) -> str:
    """The file's content as UTF-8; see ``read_limited``.

    Raises:
        RequestError: it cannot be read, is larger than ``limit``, or is not text.
    """
    try:
        return read_limited(path, what, limit).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RequestError(f"{what} {path} is not text in UTF-8") from error


def yaml_fields(content: bytes, origin: str, what: str) -> dict[str, Any]:
    """The fields of a YAML document.

    Args:
        origin: where it is from, for errors.
        what: it should be, for errors, e.g. ``suite``.

    Raises:
        RequestError: it is not YAML, has too many aliases, is nested too deep, or holds no fields.
    """
    import yaml

    try:
        aliases = sum(isinstance(event, yaml.AliasEvent) for event in yaml.parse(content))
        if aliases > MOST_ALIASES:
            raise RequestError(f"{origin} has {aliases} aliases, the limit is {MOST_ALIASES}")
        document = yaml.safe_load(content)
    # A value that its tag or its form contradicts, such as a month 13, is a ValueError of its own.
    except (yaml.YAMLError, ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError) as error:
        raise RequestError(f"{origin} is not YAML: {' '.join(str(error).split())[:200]}") from error
    except RecursionError as error:
        raise RequestError(f"{origin} is not a {what}: it is nested too deep") from error
    if not isinstance(document, dict):
        raise RequestError(f"{origin} is not a {what}: it holds no fields")
    return document


def first_fault(error: ValidationError) -> str:
    """Where pydantic found the first fault, and which; with the number of the others."""
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(map(str, first["loc"])) or "the document"
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return f"{where}: {first['msg']}{more}"
