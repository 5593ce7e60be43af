"""A .tflite as a value: its bytes, and everything that can be read from them, each read once."""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evit_mobile.tflite.description import ModelDescription, description_in
from evit_mobile.tflite.flatbuffer import read_bytes, unpack
from evit_mobile.tflite.graph import Graph, graph_of


@dataclass(frozen=True)
class Tflite:
    """The bytes of a .tflite; ``name`` is what errors call it.

    The properties raise RequestError where the file is damaged, and keep what they read.
    """

    content: bytes
    name: str = "this file"

    @classmethod
    def read(cls, path: Path) -> Tflite:
        """The .tflite at ``path``.

        Raises:
            RequestError: the file cannot be read, is not a .tflite, or is truncated or damaged.
        """
        file = cls(read_bytes(path), str(path))
        file.tree  # noqa: B018 - a damaged file is refused here, not at its first use
        return file

    @functools.cached_property
    def tree(self) -> Any:
        """The object tree (``ModelT``), shared by all readers: whoever edits one unpacks the content anew."""
        return unpack(self.content, self.name)

    @functools.cached_property
    def graph(self) -> Graph:
        """The primary subgraph."""
        return graph_of(self.tree, self.name)

    @functools.cached_property
    def description(self) -> ModelDescription | None:
        """What evit-mobile wrote about the model, or None for a file that it did not write."""
        return description_in(self.tree, self.name)

    @functools.cached_property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()
