"""A .tflite as a value: its bytes, and everything that can be read from them, each read once."""

from __future__ import annotations

import contextlib
import functools
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evit_mobile.processes import temporary_folder
from evit_mobile.tflite.flatbuffer import read_bytes, unpack
from evit_mobile.tflite.graph import Graph, graph_of

if TYPE_CHECKING:
    from evit_mobile.tflite.description import ModelDescription


@dataclass(frozen=True)
class Tflite:
    """The bytes of a .tflite; ``name`` is what errors call it, ``path`` the file that holds them, if one does.

    The properties raise RequestError where the file is damaged, and keep what they read.
    """

    content: bytes = field(repr=False)
    name: str = "this file"
    path: Path | None = None

    @classmethod
    def read(cls, path: Path) -> Tflite:
        """The .tflite at ``path``.

        Raises:
            RequestError: the file cannot be read, is not a .tflite, or is truncated or damaged.
        """
        file = cls(read_bytes(path), str(path), path)
        file.tree  # noqa: B018 - a damaged file is refused here, not at its first use
        return file

    @functools.cached_property
    def tree(self) -> Any:
        """The object tree (``ModelT``), shared by all readers and never edited; see ``editable_tree``."""
        return unpack(self.content, self.name)

    def editable_tree(self) -> Any:
        """An object tree of the caller's own."""
        return unpack(self.content, self.name)

    @functools.cached_property
    def graph(self) -> Graph:
        """The primary subgraph."""
        return graph_of(self.tree, self.name)

    @functools.cached_property
    def description(self) -> ModelDescription | None:
        """What evit-mobile wrote about the model, or None for a file that it did not write."""
        from evit_mobile.tflite.description import description_in

        return description_in(self.tree, self.name)

    @functools.cached_property
    def signatures(self) -> list[str]:
        """Keys of the primary subgraph's signatures."""
        return [signature.signatureKey.decode() for signature in self._signatures]

    @functools.cached_property
    def signature_names(self) -> dict[int, str]:
        """Input or output tensor -> the name that a signature of the primary subgraph gives it."""
        maps = [item for entry in self._signatures for item in [*(entry.inputs or []), *(entry.outputs or [])]]
        return {item.tensorIndex: item.name.decode() for item in maps}

    @property
    def _signatures(self) -> list[Any]:
        return [entry for entry in self.tree.signatureDefs or [] if entry.subgraphIndex == 0]

    @functools.cached_property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @contextlib.contextmanager
    def on_disk(self) -> Iterator[Path]:
        """A path that holds the bytes while the body runs: a runtime loads from a file."""
        if self.path is not None:
            yield self.path
            return
        with temporary_folder() as folder:
            path = folder / "model.tflite"
            path.write_bytes(self.content)
            yield path
