"""Pictures that stand on a page beside the measurements: what a model found in an image."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path

from evit_mobile.errors import RequestError

#: A page holds its pictures; larger ones make it slow to open.
MOST_BYTES = 20_000_000
SIGNATURE = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Illustration:
    """A picture by its file's name, as a data URI."""

    name: str
    uri: str


def read_picture(path: Path) -> Illustration:
    """The PNG at ``path``.

    Raises:
        RequestError: the file cannot be read, is not a PNG, or is larger than ``MOST_BYTES``.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise RequestError(f"picture {path} cannot be read: {error.strerror}") from error
    if not content.startswith(SIGNATURE):
        raise RequestError(f"{path} is not a PNG", hint="evit-mobile run --out writes one")
    if len(content) > MOST_BYTES:
        raise RequestError(f"{path} has {len(content) / 1e6:.0f} MB, more than {MOST_BYTES / 1e6:.0f}")
    return Illustration(path.name, "data:image/png;base64," + base64.b64encode(content).decode())
